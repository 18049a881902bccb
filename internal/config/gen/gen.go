// Package gen makes big tenants for benchmarks: a tenant file and repositories full of configuration,
// as plain files, so that any program that reads Zuul's language can be given the same work. The same
// Size always gives the same files.
package gen

import (
	"fmt"
	"strings"
)

// Size is how big a tenant is made.
type Size struct {
	// Projects is the number of untrusted projects; each has a stanza and jobs of its own.
	Projects int
	// Variants is the number of definitions of jobs, over all projects and branches.
	Variants int
	// Pipelines is the number of pipelines that stanzas name.
	Pipelines int
	// Branches is the number of branches of each project that has configuration.
	Branches int
}

// Big is the size that Gozer's aims are stated for.
var Big = Size{Projects: 2000, Variants: 20000, Pipelines: 60, Branches: 2}

// File is one file: of a repository at a branch, or, with an empty project, the tenant file.
type File struct {
	Project, Branch, Path string
	Data                  []byte
}

// levels is the depth of inheritance below the base job.
const levels = 5

// graphJobs is how many jobs the deploy pipeline of the first project has.
const graphJobs = 40

// Graph names a pipeline and project that have a graph of forty jobs on five levels of inheritance.
func Graph() (pipeline, project string) { return pipelineName(0), projectName(0) }

func pipelineName(i int) string { return fmt.Sprintf("pipeline-%d", i) }
func projectName(i int) string  { return fmt.Sprintf("org/project-%d", i) }

// Write calls emit for each file, the tenant file first.
func (s Size) Write(emit func(File) error) error {
	if err := emit(File{Path: "main.yaml", Data: s.tenant()}); err != nil {
		return err
	}
	for _, f := range []File{
		{Path: "zuul.d/jobs.yaml", Data: s.centralJobs()},
		{Path: "zuul.d/pipelines.yaml", Data: s.pipelines()},
		{Path: "zuul.d/templates.yaml", Data: s.templates()},
	} {
		f.Project, f.Branch = "config", "master"
		if err := emit(f); err != nil {
			return err
		}
	}
	for p := range s.Projects {
		for b := range s.Branches {
			f := File{Project: projectName(p), Branch: branchName(b), Path: "zuul.yaml", Data: s.project(p, b)}
			if err := emit(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func branchName(b int) string {
	if b == 0 {
		return "master"
	}
	return fmt.Sprintf("stable/%d", b)
}

func (s Size) tenant() []byte {
	var b strings.Builder
	b.WriteString("- tenant:\n    name: big\n    source:\n      gerrit:\n        config-projects:\n          - config\n        untrusted-projects:\n")
	for p := range s.Projects {
		fmt.Fprintf(&b, "          - %s\n", projectName(p))
	}
	return []byte(b.String())
}

func (s Size) pipelines() []byte {
	var b strings.Builder
	for i := range s.Pipelines {
		manager := []string{"independent", "dependent", "serial", "supercedent"}[i%4]
		fmt.Fprintf(&b, `- pipeline:
    name: %s
    manager: %s
    post-review: true
    trigger:
      gerrit:
        - event: patchset-created
        - event: comment-added
          comment: (?i)^\s*recheck-%d\s*$
    success:
      gerrit:
        Verified: 1
    failure:
      gerrit:
        Verified: -1

`, pipelineName(i), manager, i)
	}
	return []byte(b.String())
}

// centralJobs are the base job and a ladder of parents.
func (s Size) centralJobs() []byte {
	var b strings.Builder
	b.WriteString(`- job:
    name: base
    parent: null
    pre-run: playbooks/base/pre.yaml
    post-run:
      - playbooks/base/post-ssh.yaml
      - playbooks/base/post-logs.yaml
    roles:
      - zuul: org/project-0
    timeout: 1800
    nodeset:
      nodes:
        - name: ubuntu-noble
          label: ubuntu-noble

`)
	parent := "base"
	for i := range levels - 1 {
		fmt.Fprintf(&b, `- job:
    name: level-%d
    parent: %s
    abstract: true
    pre-run: playbooks/level-%d/pre.yaml
    run: playbooks/level-%d/run.yaml
    post-run: playbooks/level-%d/post.yaml
    tags: [level-%d]
    vars:
      level: %d
      packages:
        level_%d: [gcc, make, python3]
    required-projects:
      - org/project-%d

`, i, parent, i, i, i, i, i, i, i%s.Projects)
		parent = fmt.Sprintf("level-%d", i)
	}
	return []byte(b.String())
}

func (s Size) templates() []byte {
	var b strings.Builder
	for t := range 20 {
		fmt.Fprintf(&b, "- project-template:\n    name: template-%d\n", t)
		for i := range 3 {
			fmt.Fprintf(&b, "    %s:\n      jobs:\n        - noop\n", pipelineName((t+i*7)%s.Pipelines))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// project is the file of one project-branch: jobs, and a stanza that runs them in a few pipelines.
func (s Size) project(p, branch int) []byte {
	var b strings.Builder
	jobs := s.Variants / (s.Projects * s.Branches)
	if p == 0 {
		jobs = max(jobs, graphJobs)
	}
	names := make([]string, jobs)
	for j := range jobs {
		names[j] = fmt.Sprintf("project-%d-job-%d", p, j)
		fmt.Fprintf(&b, `- job:
    name: %s
    parent: level-%d
    description: |
      Job %d of project %d on branch %d.
    run: playbooks/%s.yaml
    files:
      - ^src/%d/.*$
      - ^zuul\.yaml$
    vars:
      job: %d
      branch: %d
      options:
        verbose: yes
        flags: [a, b, c]
    required-projects:
      - org/project-%d
    nodeset:
      nodes:
        - name: controller
          label: ubuntu-noble

`, names[j], j%(levels-1), j, p, branch, names[j], j, j, branch, (p+j+1)%s.Projects)
	}
	fmt.Fprintf(&b, "- project:\n    templates:\n      - template-%d\n      - template-%d\n    queue: queue-%d\n    vars:\n      project: %d\n",
		p%20, (p+1)%20, p%50, p)
	for i := range min(5, s.Pipelines) {
		fmt.Fprintf(&b, "    %s:\n      jobs:\n", pipelineName((p+i*11)%s.Pipelines))
		for j, name := range names {
			if p != 0 && i > 0 && j%5 != i {
				continue
			}
			fmt.Fprintf(&b, "        - %s", name)
			if j > 0 && i == 0 {
				fmt.Fprintf(&b, ":\n            dependencies:\n              - name: %s\n                soft: true", names[j/2])
			}
			b.WriteByte('\n')
		}
		if i > 0 && p != 0 {
			b.WriteString("        - noop\n")
		}
	}
	return []byte(b.String())
}
