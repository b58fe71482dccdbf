"""Does it do what it says, also when others do not?"""
