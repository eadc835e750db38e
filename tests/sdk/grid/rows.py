"""The client rows of the grid."""

from anthropic_rows import Messages, Messages2023
from boto_row import Converse
from google_row import Generate, GenerateBeta
from openai_rows import Chat, Responses

ROWS = [Chat(), Responses(), Messages(), Messages2023(), Generate(), GenerateBeta(), Converse()]
