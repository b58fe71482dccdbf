"""Where does the satellite network come from?"""
