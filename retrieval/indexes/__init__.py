"""Vector indexes of one protocol: faiss on this machine, Milvus on a server."""
