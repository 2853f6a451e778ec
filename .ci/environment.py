"""Make the virtual environment ``.venv`` and install the project into it. Needs Python 3.11 and nothing else.

Debian splits Python: a plain ``python3`` has the ``venv`` module but neither pip nor the means to unpack one. So, in order:

1. ``python3 -m venv`` as everywhere
2. an environment without pip, filled by the pip of this Python
3. an environment without pip, filled by pip's wheel, fetched from the package index that the user's settings name
4. ``apt-get install python3-venv`` when we may, then 1 again

If all fail, one line says what to type. Then, for root on Debian, the programs with which tests cut the links between nodes; without
them those tests are skipped. Run by the Makefile; plain enough for older Pythons, so that they get a clear line.
"""

import configparser
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
EXTRAS = "dev,guests"
WHEEL_BYTES_MAX = 16 << 20  # pip's wheel has 2 MiB
TIMEOUT_S = 60


def main():
    if sys.version_info < (3, 11):
        sys.exit(f"error: golemp2p needs Python 3.11 or newer, not {platform.python_version()}; set PYTHON=/path/to/python3")
    if not has_pip():
        make_environment()
    print("installing golemp2p and what it needs into .venv", flush=True)
    run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f".[{EXTRAS}]"])
    add_network_tools()


def has_pip():
    """Whether .venv is there and usable."""
    return os.path.exists(PYTHON) and quiet([PYTHON, "-m", "pip", "--version"])


def make_environment():
    print(f"making .venv with {sys.executable}", flush=True)
    for attempt in (with_ensurepip, with_own_pip, with_fetched_pip, with_debian_package):
        if attempt() and has_pip():
            return
    sys.exit(
        "error: this Python can make no environment with pip in it; as root, type: apt-get install python3-venv"
        " (then run the same command again)"
    )


def with_ensurepip():
    if importlib.util.find_spec("ensurepip") is None:
        return False
    return quiet([sys.executable, "-m", "venv", "--clear", VENV])


def bare_environment():
    return quiet([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV])


def with_own_pip():
    if importlib.util.find_spec("pip") is None:
        return False
    return bare_environment() and quiet([sys.executable, "-m", "pip", "--python", PYTHON, "install", "pip"])


def with_fetched_pip():
    """pip's own wheel can install itself."""
    if not bare_environment():
        return False
    try:
        wheel = fetch_pip(index_url())
    except (OSError, ValueError) as error:
        print(f"could not fetch pip: {error}", flush=True)
        return False
    return quiet([PYTHON, "-m", "pip", "install", "pip"], PYTHONPATH=wheel)


def fetch_pip(index):
    """Path of pip's newest final wheel, from the simple index (PEP 503), its hash checked when the index tells it."""
    page_url = index.rstrip("/") + "/pip/"
    page = read(page_url).decode("utf-8", "replace")
    found = re.findall(r'href="([^"]*/(pip-(\d+(?:\.\d+)*)-py3-none-any\.whl)[^"]*)"', page)
    if not found:
        raise ValueError(f"no pip at {page_url}")
    link, name, _ = max(found, key=lambda item: [int(part) for part in item[2].split(".")])
    url, _, fragment = urllib.parse.urljoin(page_url, link.replace("&amp;", "&")).partition("#")
    data = read(url)
    kind, _, digest = fragment.partition("=")
    if kind == "sha256" and hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{name} does not match its hash")
    path = os.path.join(VENV, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def read(url):
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url} is not a web address")
    trust = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=trust) as response:  # noqa: S310 - checked above
        data = response.read(WHEEL_BYTES_MAX + 1)
    if len(data) > WHEEL_BYTES_MAX:
        raise ValueError(f"{url} is too large")
    return data


def index_url():
    """The index the user has set for pip: in the environment, or in its configuration files. Raises ``ValueError``."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    home = os.path.expanduser("~")
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = [
        os.environ.get("PIP_CONFIG_FILE", ""),
        os.path.join(config_home, "pip", "pip.conf"),
        os.path.join(home, ".pip", "pip.conf"),
        "/etc/pip.conf",
    ]
    for file in files:
        parser = configparser.RawConfigParser()
        if file and parser.read(file):
            for section in ("install", "global"):
                if parser.has_option(section, "index-url"):
                    return parser.get(section, "index-url")
    raise ValueError("no package index is configured for pip")


def with_debian_package():
    if shutil.which("apt-get") is None:
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and (shutil.which("sudo") is None or not quiet(["sudo", "-n", "true"])):
        return False
    print("installing python3-venv", flush=True)
    install(prefix, f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    return quiet([sys.executable, "-m", "venv", "--clear", VENV])


def add_network_tools():
    """Only where we are root anyway, as in a container: nobody is asked for a password for the sake of a few tests."""
    wanted = (("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables"))
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    packages = sorted({package for program, package in wanted if shutil.which(program, path=path) is None})
    if packages and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        print(f"installing {' and '.join(packages)}, with which tests cut the links between nodes", flush=True)
        install([], *packages)


def install(prefix, *packages):
    """Whether Debian packages could be installed; with a fresh list of packages if need be."""
    command = [*prefix, "apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if quiet(command, DEBIAN_FRONTEND="noninteractive"):
        return True
    quiet([*prefix, "apt-get", "update"])
    return quiet(command, DEBIAN_FRONTEND="noninteractive")


def quiet(command, **environment):
    """Whether ``command`` succeeds. Its output is dropped: the next way is tried, and the last line says what to do."""
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode == 0


def run(command):
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"error: `{' '.join(command)}` failed; its output above says why")


if __name__ == "__main__":
    main()
