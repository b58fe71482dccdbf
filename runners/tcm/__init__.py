"""Which syndromes and which treatment fit the symptoms of a patient?"""
