"""Which syndrome do symptoms point to, and which treatment?"""
