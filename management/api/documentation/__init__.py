"""How does the OpenAPI document describe the routes, their answers and their errors?"""
