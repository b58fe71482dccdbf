"""Does each training program learn, measure and write what serving reads?"""
