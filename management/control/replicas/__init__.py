"""Which replicas live, and what starts or stops? ``prober`` observes, ``transitions`` evaluates, ``plan`` decides."""
