// The API server as a referee: reads one JSON object a line, writes the faults that the official CRDs find in it.
//
// The arguments are folders of CRDs. The order of steps (unknown fields, nulls, defaults, schema, list keys, CEL) is that of
// a strict create in apiextensions-apiserver.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	schema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type entry struct {
	s   *schema.Structural
	v   validation.SchemaValidator
	cel *cel.Validator
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	table := map[string]entry{}
	for _, dir := range os.Args[1:] {
		files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			must(err)
			var crd v1.CustomResourceDefinition
			if yaml.Unmarshal(data, &crd) != nil || crd.Kind != "CustomResourceDefinition" {
				continue
			}
			for _, ver := range crd.Spec.Versions {
				var in apiextensions.JSONSchemaProps
				must(v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(ver.Schema.OpenAPIV3Schema, &in, nil))
				s, err := schema.NewStructural(&in)
				must(err)
				v, _, err := validation.NewSchemaValidator(&in)
				must(err)
				table[crd.Spec.Group+"/"+ver.Name+"/"+crd.Spec.Names.Kind] = entry{s, v, cel.NewValidator(s, true, celconfig.PerCallLimit)}
			}
		}
	}
	sc := bufio.NewScanner(os.Stdin)
	sc.Buffer(make([]byte, 1<<24), 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for sc.Scan() {
		var obj map[string]interface{}
		must(json.Unmarshal(sc.Bytes(), &obj))
		normal := normalise(obj).(map[string]interface{})
		e, ok := table[fmt.Sprint(normal["apiVersion"], "/", normal["kind"])]
		errs := []string{}
		if !ok {
			errs = append(errs, "unknown kind")
		} else {
			unknown := pruning.PruneWithOptions(normal, e.s, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
			for _, u := range unknown {
				errs = append(errs, "unknown field "+u)
			}
			defaulting.PruneNonNullableNullsWithoutDefaults(normal, e.s)
			defaulting.Default(normal, e.s)
			for _, x := range validation.ValidateCustomResource(nil, normal, e.v) {
				errs = append(errs, x.Error())
			}
			for _, x := range listtype.ValidateListSetsAndMaps(nil, e.s, normal) {
				errs = append(errs, x.Error())
			}
			if len(errs) == 0 && e.cel != nil {
				es, _ := e.cel.Validate(context.TODO(), nil, e.s, normal, nil, celconfig.RuntimeCELCostBudget)
				for _, x := range es {
					errs = append(errs, x.Error())
				}
			}
		}
		b, _ := json.Marshal(errs)
		out.Write(b)
		out.WriteByte('\n')
	}
}

func normalise(v interface{}) interface{} {
	switch t := v.(type) {
	case map[string]interface{}:
		for k, x := range t {
			t[k] = normalise(x)
		}
	case []interface{}:
		for i, x := range t {
			t[i] = normalise(x)
		}
	case float64:
		if t == float64(int64(t)) {
			return int64(t)
		}
	}
	return v
}
