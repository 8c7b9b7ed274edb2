#!/usr/bin/env python3
# Reads the examples, checks that what is in each fits together, and prints the environment of their
# containers as a shell's assignments, after a line "# FILE".
#
#	test/examples.py COMPOSE KUBERNETES

import shlex
import sys

import yaml

STATE = "/run/tdispatch"  # where Dockerfile has the state file


def expect(truth, what):
    if not truth:
        sys.exit("wrong: " + what)


def print_environment(path, variables, secrets):
    print("#", path)
    for key, value in variables.items():
        expect(isinstance(value, str), f"{path}: {key} is no string")
        expect(not key.endswith("_FILE") or value in secrets, f"{path}: no secret is mounted at {value}")
        print(f"export {key}={shlex.quote(value)}")


def compose(path):
    doc = yaml.safe_load(open(path))
    for name, service in doc["services"].items():
        expect(service["read_only"] and service["cap_drop"] == ["ALL"], f"{name}: more rights than it needs")
        expect(STATE in service["tmpfs"], f"{name}: no place for the state file")
        expect(set(service["secrets"]) == set(doc["secrets"]), f"{name}: secrets that are not defined, or not used")
        print_environment(path, service["environment"], ["/run/secrets/" + s for s in service["secrets"]])


def kubernetes(path):
    doc = yaml.safe_load(open(path))
    pod = doc["spec"]["template"]
    expect(doc["kind"] == "Deployment" and doc["spec"]["replicas"] == 1, "one replica of a deployment")
    expect(doc["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"], "labels differ")
    expect(pod["spec"]["securityContext"]["runAsNonRoot"], "it may run as root")
    for c in pod["spec"]["containers"]:
        mounts = {m["name"]: m["mountPath"] for m in c["volumeMounts"]}
        expect(set(mounts) == {v["name"] for v in pod["spec"]["volumes"]}, "volumes and mounts differ")
        expect(STATE in mounts.values(), "no place for the state file")
        expect(c["securityContext"]["readOnlyRootFilesystem"], "its root can be written")
        expect(c["livenessProbe"]["exec"]["command"] == ["/tdispatch", "--health"], "the probe")
        secrets = [f"{mounts['databases']}/{key}" for key in ("src_db", "dst_db")]
        print_environment(path, {e["name"]: e["value"] for e in c["env"]}, secrets)


compose(sys.argv[1])
kubernetes(sys.argv[2])
