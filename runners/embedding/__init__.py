"""Which vector stands for a picture?"""
