"""Does every promise of docs/reliability.md hold?"""
