package web

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gozer-ci/gozer/internal/api"
)

// openAPI tells programs what there is: the table of routes, with schemas made from the Go types that are
// really sent. huma's own router cannot serve Zuul's paths (names with slashes in the middle), its
// schemas can be had alone.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.document())
}

func (s *Server) document() *huma.OpenAPI {
	reg := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{OpenAPI: "3.1.0", Info: &huma.Info{Title: "Gozer", Version: s.Version},
		Components: &huma.Components{Schemas: reg}, Paths: map[string]*huma.PathItem{}}
	problem := jsonContent(reg, api.Error{})
	for _, rt := range s.table {
		path := strings.ReplaceAll(rt.path, "...}", "}")
		item := doc.Paths[path]
		if item == nil {
			item = &huma.PathItem{}
			doc.Paths[path] = item
		}
		op := &huma.Operation{Summary: rt.about, OperationID: operationID(rt.method, path),
			Responses: map[string]*huma.Response{"default": {Description: "an error", Content: problem}}}
		for _, n := range rt.names {
			op.Parameters = append(op.Parameters, &huma.Param{Name: n, In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
		}
		for _, q := range rt.query {
			op.Parameters = append(op.Parameters, &huma.Param{Name: q, In: "query", Schema: &huma.Schema{Type: "string"}})
		}
		if rt.body != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: jsonContent(reg, rt.body)}
		}
		ok := &huma.Response{Description: rt.about}
		if rt.answer != nil {
			ok.Content = jsonContent(reg, rt.answer)
		}
		op.Responses["200"] = ok
		switch rt.method {
		case http.MethodGet:
			item.Get = op
		case http.MethodPost:
			item.Post = op
		case http.MethodDelete:
			item.Delete = op
		}
	}
	return doc
}

func jsonContent(reg huma.Registry, v any) map[string]*huma.MediaType {
	t := reflect.TypeOf(v)
	return map[string]*huma.MediaType{"application/json": {Schema: reg.Schema(t, true, t.Name())}}
}

func operationID(method, path string) string {
	words := strings.FieldsFunc(path, func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9') })
	return fmt.Sprintf("%s-%s", strings.ToLower(method), strings.Join(words, "-"))
}
