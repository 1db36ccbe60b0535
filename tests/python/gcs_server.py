"""A small Google Cloud Storage for tests: the part of its XML API that the crate object_store uses.

It is written from Google's pages (cloud.google.com/storage/docs/xml-api). No emulator of pip or npm has what is needed:
gcp-storage-emulator 2026.7.19 ignores x-goog-if-generation-match, and fake-gcs-server has no uploads in parts.

As Google's: a request needs a token that the key of the service account has signed (RS256, not expired). Each write
gives the object a new generation, and x-goog-if-generation-match is compared with it; 0 is "no such object". Numbers,
tags and sizes of an upload's parts are checked. Listings have pages and delimiters, reads have ranges. A second change
of one object within a second is answered with 429 SlowDown; here its condition is compared before that.

It is not Google's program: its errors have Google's names without the texts, the account may do everything, objects are
in memory, and all else of the API is answered with 501, so that a client which begins to use more fails.

usage: gcs_server.py ADDRESS_FILE ACCOUNT_FILE BUCKET (it writes the two files, and its requests to standard output)
"""

import base64, hashlib, json, os, pathlib, re, sys, threading, time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ADDRESS_FILE, ACCOUNT_FILE, BUCKET = sys.argv[1:]
SECONDS_BETWEEN_CHANGES, LEAST_PART_BYTES = 1, 5 * 1024 * 1024
ACCOUNT = "trainer@tests.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
lock = threading.Lock()
# name -> {bytes, tag, generation, time}; id -> (name, {number: (tag, bytes)}); name -> when it was changed
objects, uploads, changed = {}, {}, {}


class Failure(Exception):
    """An error as answer: its status and Google's name of it."""


def check_token(header):
    decode = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    try:
        head, claims, signature = header.removeprefix("Bearer ").split(".")
        KEY.public_key().verify(decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        claims = json.loads(decode(claims))
        assert claims["iss"] == ACCOUNT and claims["exp"] > time.time()
    except Exception:  # whatever is wrong with it
        raise Failure(401, "AuthenticationRequired") from None


def there(name):
    if name not in objects:
        raise Failure(404, "NoSuchKey")
    return objects[name]


def change(name):
    if time.time() - changed.get(name, 0) < SECONDS_BETWEEN_CHANGES:
        raise Failure(429, "SlowDown")
    changed[name] = time.time()


def tag_of(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


def put(name, content, tag):
    objects[name] = {"bytes": content, "tag": tag, "generation": time.time_ns() // 1000, "time": time.time()}
    return [("ETag", tag), ("x-goog-generation", str(objects[name]["generation"]))]


def xml(root, name, text):
    return f"<{root}><{name}>{escape(text)}</{name}></{root}>".encode()


def parts_of(upload_id, name):
    if uploads.get(upload_id, (None,))[0] != name:
        raise Failure(404, "NoSuchUpload")
    return uploads[upload_id][1]


def completed(parts, body):
    wanted = [[part.findtext("{*}PartNumber"), part.findtext("{*}ETag")] for part in ElementTree.fromstring(body)]
    numbers = [int(number) for number, _ in wanted]
    if numbers != sorted(set(numbers)) or any(parts.get(int(number), ("",))[0] != tag for number, tag in wanted):
        raise Failure(400, "InvalidPart")
    if any(len(parts[number][1]) < LEAST_PART_BYTES for number in numbers[:-1]):
        raise Failure(400, "EntityTooSmall")
    return b"".join(parts[number][1] for number in numbers)


def listing(query):
    prefix, delimiter, after = (query.pop(name, "") for name in ["prefix", "delimiter", "continuation-token"])
    most, listed, groups, token = int(query.pop("max-keys", 1000)), [], [], ""
    if query.pop("list-type", "") != "2" or query:
        raise Failure(501, "NotImplemented")
    for name in sorted(objects, key=lambda name: name.encode()):
        rest = name.removeprefix(prefix)
        group = prefix + rest.split(delimiter)[0] + delimiter if delimiter and delimiter in rest else None
        if not name.startswith(prefix) or (group or name) <= after or group in groups:
            continue
        if len(listed) + len(groups) == most:
            token = max([item[0] for item in listed[-1:]] + groups[-1:])
            break
        groups.append(group) if group else listed.append((name, objects[name]))
    text = "".join(f"<CommonPrefixes><Prefix>{escape(group)}</Prefix></CommonPrefixes>" for group in groups)
    for name, it in listed:
        changed_at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(it["time"]))
        text += f"<Contents><Key>{escape(name)}</Key><LastModified>{changed_at}</LastModified>"
        text += f"<ETag>{escape(it['tag'])}</ETag><Size>{len(it['bytes'])}</Size></Contents>"
    text += f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    return f"<ListBucketResult><IsTruncated>{str(bool(token)).lower()}</IsTruncated>{text}</ListBucketResult>"


def read(name, headers):
    it = there(name)
    content, status, extra = it["bytes"], 200, []
    if "Range" in headers:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers["Range"])
        start, end = int(wanted[1]), min(int(wanted[2] or len(content)) + 1, len(content))
        if start >= len(content):
            raise Failure(416, "InvalidRange")
        extra, status = [("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")], 206
        content = content[start:end]
    extra += [("ETag", it["tag"]), ("x-goog-generation", str(it["generation"]))]
    return status, extra + [("Last-Modified", formatdate(it["time"], usegmt=True))], content


def answer(method, path, query, headers, body):
    check_token(headers.get("Authorization", ""))
    bucket, _, name = path.removeprefix("/").partition("/")
    if unquote(bucket) != BUCKET:
        raise Failure(404, "NoSuchBucket")
    name, upload = unquote(name), query.get("uploadId")
    if method == "GET" and not name:
        return 200, [], listing(query).encode()
    if method in ("GET", "HEAD") and not query:
        return read(name, headers)
    expected = headers.get("x-goog-if-generation-match")
    if expected is not None and int(expected) != objects.get(name, {"generation": 0})["generation"]:
        raise Failure(412, "PreconditionFailed")
    match method, sorted(query):
        case "PUT", []:
            change(name)
            return 200, put(name, body, tag_of(body)), b""
        case "DELETE", []:
            there(name), change(name), objects.pop(name)
            return 204, [], b""
        case "POST", ["uploads"]:
            uploads[upload := os.urandom(8).hex()] = (name, {})
            return 200, [], xml("InitiateMultipartUploadResult", "UploadId", upload)
        case "PUT", ["partNumber", "uploadId"]:
            parts_of(upload, name)[int(query["partNumber"])] = (tag_of(body), body)
            return 200, [("ETag", tag_of(body))], b""
        case "POST", ["uploadId"]:
            content = completed(parts_of(upload, name), body)
            change(name)
            del uploads[upload]
            known = put(name, content, f'"{os.urandom(8).hex()}"')
            return 200, known, xml("CompleteMultipartUploadResult", "ETag", known[0][1])
        case "DELETE", ["uploadId"]:
            parts_of(upload, name), uploads.pop(upload)
            return 204, [], b""
    raise Failure(501, "NotImplemented")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        try:
            with lock:
                status, headers, content = answer(self.command, url.path, query, self.headers, body)
        except Failure as failure:
            status, code = failure.args
            headers, content = [], xml("Error", "Code", code)
        self.send_response(status)
        for known in [*headers, ("Content-Length", str(len(content)))]:
            self.send_header(*known)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request

    def log_message(self, text, *values):
        print(text % values, flush=True)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
account = {"client_email": ACCOUNT, "private_key": KEY.private_bytes(*form).decode(), "private_key_id": "1"}
pathlib.Path(ACCOUNT_FILE).write_text(json.dumps({"type": "service_account", **account}))
pathlib.Path(ADDRESS_FILE + ".new").write_text(f"http://127.0.0.1:{server.server_address[1]}")
os.replace(ADDRESS_FILE + ".new", ADDRESS_FILE)
server.serve_forever()
