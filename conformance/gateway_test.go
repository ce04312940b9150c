// Package conformance runs the official Gateway API suite.
package conformance

import (
	"encoding/json"
	"os"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// TestGateway runs every test of the suite one after another. As published, the suite books a test that calls t.Parallel as passed
// before it has run (v1.6.1, 36 of 153 tests), because t.Run returns at that call; in series each result is that of the test.
func TestGateway(t *testing.T) {
	for i := range tests.ConformanceTests {
		tests.ConformanceTests[i].Parallel = false
	}
	conformance.RunConformance(t)
}

type catalogue struct {
	Tests    []catalogueTest    `json:"tests"`
	Profiles []catalogueProfile `json:"profiles"`
}

type catalogueTest struct {
	Name        string   `json:"name"`
	Features    []string `json:"features"`
	Provisional bool     `json:"provisional"`
}

type catalogueProfile struct {
	Name     string   `json:"name"`
	Core     []string `json:"core"`
	Extended []string `json:"extended"`
}

// TestCatalogue writes what the suite holds to the file that CATALOGUE names, so that a score needs no table of its own.
func TestCatalogue(t *testing.T) {
	path := os.Getenv("CATALOGUE")
	if path == "" {
		t.Skip("CATALOGUE names no file")
	}
	found := catalogue{}
	for _, test := range tests.ConformanceTests {
		found.Tests = append(found.Tests, catalogueTest{test.ShortName, names(test.Features), test.Provisional})
	}
	for _, profile := range []suite.ConformanceProfile{
		suite.GatewayHTTPConformanceProfile, suite.GatewayGRPCConformanceProfile, suite.GatewayTLSConformanceProfile,
		suite.GatewayTCPConformanceProfile, suite.GatewayUDPConformanceProfile,
		suite.MeshHTTPConformanceProfile, suite.MeshGRPCConformanceProfile,
	} {
		core, extended := profile.CoreFeatures.UnsortedList(), profile.ExtendedFeatures.UnsortedList()
		found.Profiles = append(found.Profiles, catalogueProfile{string(profile.Name), names(core), names(extended)})
	}
	raw, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func names[T ~string](given []T) []string {
	found := make([]string, 0, len(given))
	for _, name := range given {
		found = append(found, string(name))
	}
	return found
}
