"""Makes a container in a server of Azure's interface, as the crate object_store has no call for it.

usage: azure_container.py ENDPOINT ACCOUNT KEY CONTAINER
"""

import base64
import hashlib
import hmac
import sys
import urllib.request
from email.utils import formatdate

endpoint, account, key, container = sys.argv[1:]
sent = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
# Azure's string to sign: the method, 12 headers that are empty here, the headers of its own, and the resource. The
# account is there twice, as it is a part of the address too.
text = "PUT" + "\n" * 12 + "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
text += f"/{account}/{account}/{container}\nrestype:container"
digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
sent["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
url = f"{endpoint}/{account}/{container}?restype=container"
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers={**sent, "Content-Length": "0"}))
