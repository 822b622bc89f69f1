"""Builds what is measured: the yardstick and the client (cc), http_server (cargo), the peers (cargo, a manifest of their
own). A peer that cannot be built is skipped; without one of the others there is nothing to measure.
"""

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.path.abspath(os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target")))
OUT = os.path.join(TARGET, "bench")
PEERS = os.path.join(OUT, "peers")

HTTP_SERVER = os.path.join(TARGET, "release", "examples", "http_server")
RUST_PEERS = ("actix", "axum", "ntex", "may")

# Command → Debian's package.
TOOLS = {"wrk": "wrk", "strace": "strace", "nginx": "nginx", "node": "nodejs"}
REQUIRED = ("wrk",)


def build(peers):
    """`peers`: those of RUST_PEERS that are wanted. Returns why each of the others is missing: {name: reason}."""
    os.makedirs(OUT, exist_ok=True)
    for name in ("raw_epoll", "client"):
        compiler = os.environ.get("CC", "cc")
        source, program = os.path.join(HERE, f"{name}.c"), os.path.join(OUT, name)
        run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source])
    run(["cargo", "build", "--quiet", "--locked", "--release", "--example", "http_server"])
    return {name: reason for name in peers if (reason := _build_peer(name))}


def _build_peer(name):
    """One by one: a crate that does not compile here must not take the others with it."""
    manifest = os.path.join(HERE, "peers", "Cargo.toml")
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--manifest-path", manifest]
    command += ["--bin", name, "--features", name]
    log = os.path.join(OUT, f"build-{name}.log")
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run(command, env=os.environ | {"CARGO_TARGET_DIR": PEERS}, stderr=file, check=False)
    return f"its crates could not be fetched or built, see {os.path.relpath(log, ROOT)}" if done.returncode else None


def peer(name):
    return os.path.join(PEERS, "release", name)


def run(command):
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SystemExit(f"bench: failed: {' '.join(command)}")


def install():
    """What is missing of TOOLS. Wants root. Debian's nginx may start a server of its own then, which is not used."""
    packages = [package for tool, package in TOOLS.items() if not found(tool)]
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False).returncode:
        print(f"bench: not installed: {' '.join(packages)}")


def found(tool):
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def missing(tool):
    """Why it cannot be used, or None."""
    return None if found(tool) else f"{tool} is not installed (apt-get install {TOOLS[tool]}, or --install)"
