"""Do connections keep to their bounds on a real uvicorn?"""
