"""How does Atelier compare with other servers of the same networks?"""
