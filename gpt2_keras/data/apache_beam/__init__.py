"""The preparation of token shards by Apache Beam: `gpt2-keras prepare --runner beam`.

pipeline.py    `prepare_with_beam`: checks the arguments, runs the pipeline
documents.py   the steps that read, encode and select documents
shards.py      the steps that write the shards and their index

Nothing is loaded here: the modules import Apache Beam, an optional dependency.
"""
