package executor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// variables makes the inventory and the files of variables, semantics 4.5.
func (b *build) variables(ctx context.Context) error {
	hs, err := hosts(b.nodeset(), b.nodes, b.x.WinRM)
	if err != nil {
		return halt{pipeline.NodeFailure, err.Error()}
	}
	j := b.s.Job
	vars := ansible.Merge(b.parentData(), b.includedVars)
	vars = ansible.Merge(vars, j.Vars)
	if vars, err = b.secretData(ctx, vars); err != nil {
		return err
	}
	b.inv = &ansible.Inventory{Hosts: hs, Groups: groups(b.nodeset()), Vars: vars, GroupVars: j.GroupVars, HostVars: j.HostVars}
	zuul := b.zuul()
	zuul["executor"] = b.executorVars()
	zuul["playbook_context"] = b.context()
	told := object{"zuul": zuul}
	if v := b.viewVars(); v != nil {
		told["gozer"] = object{"view": v}
	}
	files := []struct {
		path string
		v    any
	}{
		{b.dir.zuulVars(), told},
		{b.dir.extraVars(), j.ExtraVars},
		{b.dir.siteVars(), b.x.SiteVariables},
		{b.dir.connectionVars(), connectionVars(b.nodes)},
	}
	for _, f := range files {
		text, err := ansible.YAML(orEmpty(f.v))
		if err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
		if err := os.WriteFile(f.path, text, 0o600); err != nil {
			return err
		}
	}
	return b.debugInventory(told)
}

// connectionVars fix how untrusted playbooks reach nodes: with the ssh of this machine, which runs no
// commands here.
func connectionVars(nodes []node.Node) object {
	const only = "-o PermitLocalCommand=no"
	common := only
	if slices.ContainsFunc(nodes, func(n node.Node) bool { return len(n.HostKeys) == 0 }) {
		common += " " + anyHostKey
	}
	return object{"ansible_ssh_executable": "ssh", "ansible_ssh_common_args": common, "ansible_ssh_extra_args": only,
		"ansible_sftp_extra_args": only, "ansible_scp_extra_args": only}
}

// debugInventory is the copy for people: with everything that playbooks get but secrets.
func (b *build) debugInventory(told object) error {
	plain, err := ansible.Plain(told)
	if err != nil {
		return err
	}
	extra := plain.(object)
	maps.Copy(extra, b.s.Job.ExtraVars)
	inv := *b.inv
	inv.Vars = maps.Clone(b.inv.Vars)
	maps.Copy(inv.Vars, extra)
	text, err := inv.Write(ansible.Render{Untagged: true})
	if err != nil {
		return err
	}
	return os.WriteFile(b.dir.inventory(), []byte(b.mask.String(string(text))), 0o600)
}

func orEmpty(v any) any {
	if m, ok := v.(object); ok && m == nil {
		return object{}
	}
	return v
}

// reserved are names that no job can set for another one.
var reserved = map[string]bool{"zuul": true, "gozer": true, "nodepool": true, "unsafe_vars": true}

// parentData is what the jobs that this one depends on returned; some names are not theirs to set.
func (b *build) parentData() object {
	out := maps.Clone(b.s.ParentData)
	maps.DeleteFunc(out, func(name string, _ any) bool { return reserved[name] || !variableName.MatchString(name) })
	return out
}

// secretData adds what parents returned secretly, below everything else: a name that is known
// otherwise is dropped. Of several parents the earlier wins.
func (b *build) secretData(ctx context.Context, vars object) (object, error) {
	for _, name := range b.s.SecretData {
		data, err := b.x.Secrets.Unseal(ctx, b.tenant, name)
		if err != nil {
			return nil, fmt.Errorf("open secret data that a parent job returned: %w", err)
		}
		b.mask.AddAll(data)
		for k, v := range data {
			if _, known := vars[k]; known || b.known(k) || reserved[k] || !variableName.MatchString(k) {
				continue
			}
			vars[k] = v
		}
	}
	return vars, nil
}

func (b *build) known(name string) bool {
	j := b.s.Job
	for _, m := range []map[string]any{j.ExtraVars, b.x.SiteVariables} {
		if _, ok := m[name]; ok {
			return true
		}
	}
	for _, by := range []map[string]map[string]any{j.HostVars, j.GroupVars} {
		for _, m := range by {
			if _, ok := m[name]; ok {
				return true
			}
		}
	}
	return false
}
