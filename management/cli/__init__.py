"""How does a person manage models from a terminal?"""
