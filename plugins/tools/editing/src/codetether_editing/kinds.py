"""What a file that is no text is, told by its first bytes."""

from __future__ import annotations

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_KINDS = (
    (b"\x7fELF", "ELF program or library"),
    (b"MZ", "Windows program"),
    (b"\xcf\xfa\xed\xfe", "Mach-O program"),
    (b"\xca\xfe\xba\xbe", "Java class or Mach-O program"),
    (b"\x00asm", "WebAssembly module"),
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "zip archive (also docx, xlsx, jar, wheel)"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"SQLite format 3\x00", "SQLite database"),
    (b"\x00\x01\x00\x00", "TrueType font"),
    (b"OTTO", "OpenType font"),
    (b"wOF", "web font"),
    (b"ID3", "MP3 audio"),
    (b"OggS", "Ogg media"),
    (b"fLaC", "FLAC audio"),
    (b"!<arch>\n", "static library"),
    (b"GGUF", "GGUF model"),
    (b"\x93NUMPY", "NumPy array"),
    (b"PAR1", "Parquet table"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\xff\xfe\x00\x00", "UTF-32 text"),
    (b"\x00\x00\xfe\xff", "UTF-32 text"),
)


def image_mime(head: bytes) -> str:
    """The mime type when these first bytes (12 suffice) are those of a PNG, JPEG, GIF or WebP picture; else empty."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for magic, mime in _IMAGES if head.startswith(magic)), "")


def kind_of(head: bytes) -> str:
    """A few words for what begins with `head` (512 bytes suffice); "binary data" when unknown."""
    if mime := image_mime(head):
        return mime
    if head[4:8] == b"ftyp":
        return "MP4 or HEIF media"
    if head[257:262] == b"ustar":
        return "tar archive"
    if head.startswith(b"RIFF"):
        return "RIFF media (wav, avi)"
    if head and not head.strip(b"\0"):
        return "zero bytes"
    return next((kind for magic, kind in _KINDS if head.startswith(magic)), "binary data")
