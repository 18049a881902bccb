# SPDX-License-Identifier: Apache-2.0
"""zuul_legacy_vars: the variables that jobs before Zuul v3 knew, from the zuul dictionary."""


def zuul_legacy_vars(zuul):
    short = zuul["project"]["name"].split("/")[-1]
    out = {
        "ZUUL_PROJECT": zuul["project"]["name"],
        "ZUUL_SHORT_PROJECT_NAME": short,
        "ZUUL_PIPELINE": zuul["pipeline"],
        "ZUUL_UUID": zuul["build"],
        "ZUUL_VOTING": zuul["voting"],
        "WORKSPACE": "/home/zuul/workspace",
    }
    if "branch" in zuul:
        out["ZUUL_BRANCH"] = zuul["branch"]
    if "change" in zuul:
        out["ZUUL_CHANGE"] = zuul["change"]
        out["ZUUL_PATCHSET"] = zuul["patchset"]
        out["ZUUL_COMMIT"] = zuul.get("commit_id", "")
        changes, ids = [], []
        for item in zuul.get("items", []):
            if "change" in item:
                changes.append("%s:%s:%s" % (item["project"]["name"], item["branch"],
                                             item.get("ref", "refs/changes/%s" % item["change"])))
                ids.append("%s,%s" % (item["change"], item["patchset"]))
        out["ZUUL_CHANGES"] = "^".join(changes)
        out["ZUUL_CHANGE_IDS"] = " ".join(ids)
    else:
        out["ZUUL_REFNAME"] = zuul.get("ref", "")
        for new, old in (("ZUUL_OLDREV", "oldrev"), ("ZUUL_NEWREV", "newrev"), ("ZUUL_COMMIT", "newrev")):
            if old in zuul:
                out[new] = zuul[old]
    return out


class FilterModule(object):

    def filters(self):
        return {"zuul_legacy_vars": zuul_legacy_vars}
