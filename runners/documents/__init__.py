"""How is a document read? Bytes in; its text, its title and its number of pages out, safely."""
