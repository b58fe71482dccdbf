"""What does a local BentoCloud answer to BentoML's own client?"""
