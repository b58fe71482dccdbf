"""Which commands deploy, call, show and change models?"""
