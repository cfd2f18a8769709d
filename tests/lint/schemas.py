"""The JSON Schemas for editors (docs/schema) say the same as the commented examples, which the strict decoders are tested on: an
editor must not paint red what ripcord takes, nor offer a key that it refuses."""
import copy
import json
import os
import re

import jsonschema
import yaml


class Loader(yaml.SafeLoader):
    """YAML as editors read it: a day is a text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def keys_of(schema):
    """Every key that a schema offers, wherever."""
    if isinstance(schema, list):
        return set().union(*map(keys_of, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    properties = schema.get("properties", {})
    return set(properties) | keys_of(list(properties.values())) | keys_of([v for k, v in schema.items() if k != "properties"])


def with_unknown_keys(document, at=()):
    """Copies of a document, each with one key too many in one of its mappings."""
    if isinstance(document, list):
        for i, item in enumerate(document):
            for place, copied in with_unknown_keys(item, at + (i,)):
                yield place, document[:i] + [copied] + document[i + 1:]
    if isinstance(document, dict):
        yield at, {**copy.deepcopy(document), "no such key": {"no": "such"}}
        for key, item in document.items():
            for place, copied in with_unknown_keys(item, at + (key,)):
                yield place, {**document, key: copied}


def findings(root, name):
    with open(os.path.join(root, "docs/schema", name + ".schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    with open(os.path.join(root, "examples/files", name + ".yaml"), encoding="utf-8") as file:
        text = file.read()
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    document = yaml.load(text, Loader)
    found = [f"refuses {'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in judge.iter_errors(document)]
    found += [f"offers '{key}', which the example does not know" for key in sorted(keys_of(schema)) if not re.search(rf"\b{key}:", text)]
    # Names that people choose are keys in these places.
    free = {"labels", "datacenters", "hosts", "code", "formats", "units"}
    for place, wrong in with_unknown_keys(document):
        if not (place and place[-1] in free) and judge.is_valid(wrong):
            found.append(f"takes an unknown key in {'.'.join(map(str, place)) or 'the file'}")
    return found
