"""What does uvicorn leave undone? Bounds on connections, headers, readers and the end of processes."""
