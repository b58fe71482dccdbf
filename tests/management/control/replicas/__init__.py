"""Are replicas started, watched, replaced and ended as desired?"""
