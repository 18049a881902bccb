package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestHelp goes over every command that people see: each has an example that is a call of itself, and says of each
// flag what it is; flags of one name mean one thing.
func TestHelp(t *testing.T) {
	shorthands := map[string]string{}
	each(root(), func(c *cobra.Command) {
		if c.Name() == "help" || c.Annotations[cobra.CommandDisplayNameAnnotation] != "" {
			return
		}
		if !c.HasSubCommands() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if s := c.Short; s == "" || s[:1] != strings.ToUpper(s[:1]) || strings.HasSuffix(s, ".") {
			t.Errorf("%s: %q is no title", c.CommandPath(), s)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Usage == "" {
				t.Errorf("%s does not say what --%s is", c.CommandPath(), f.Name)
			}
			if f.Name == "format" && f.Shorthand != "f" {
				t.Errorf("%s knows --format, and not -f", c.CommandPath())
			}
			if f.Name == "format" || f.Name == "tenant" || f.Name == "config" && f.Shorthand != "" {
				if have, ok := shorthands[f.Name]; ok && have != f.Shorthand {
					t.Errorf("%s: --%s is -%s, and elsewhere -%s", c.CommandPath(), f.Name, f.Shorthand, have)
				}
				shorthands[f.Name] = f.Shorthand
			}
		})
	})
}

func each(c *cobra.Command, fn func(*cobra.Command)) {
	if c.Hidden {
		return
	}
	fn(c)
	for _, sub := range c.Commands() {
		each(sub, fn)
	}
}
