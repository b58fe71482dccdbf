"""What does uvicorn leave open? Limits on connections, headers and slow readers, and the end of processes."""
