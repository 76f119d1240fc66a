"""Small files that users attach."""

import base64

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080200000090775"
    "3de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")
PDF = (
    b"%PDF-1.1\n%\xe2\xe3\xcf\xd3\n"
    b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 10 10]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image_block(data: bytes = PNG) -> dict:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64_of(data)}}


def pdf_block(data: bytes = PDF) -> dict:
    source = {"type": "base64", "media_type": "application/pdf", "data": base64_of(data)}
    return {"type": "document", "title": "plan.pdf", "source": source}


def text_document(text: str) -> dict:
    source = {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "document", "title": "notes.txt", "source": source}
