"""kubeconfig files → access, with client-go's rules."""

import base64

import pytest

from flota.kube.kubeconfig import KubeconfigError, config_files, context_names, in_cluster, load_context

FIRST = """
apiVersion: v1
kind: Config
current-context: a
clusters:
- {name: ca, cluster: {server: "https://a:6443/", certificate-authority: pki/ca.crt, tls-server-name: inside}}
contexts:
- {name: a, context: {cluster: ca, user: ua, namespace: shop}}
- {name: lost, context: {cluster: nowhere, user: ua}}
users:
- {name: ua, user: {client-certificate-data: PEM_IN_BASE64, client-key: keys/a.key}}
""".replace("PEM_IN_BASE64", base64.b64encode(b"PEM").decode())
SECOND = """
current-context: b
clusters: [{name: ca, cluster: {server: "https://not-this"}}, {name: cb, cluster: {server: "https://b", insecure-skip-tls-verify: true}}]
contexts: [{name: b, context: {cluster: cb, user: ub}}]
users: [{name: ub, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./get, args: null, env: null}}}]
preferences: {}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    one, two = tmp_path / "1" / "config", tmp_path / "2" / "config"
    one.write_text(FIRST)
    two.write_text(SECOND)
    return one, two


def test_paths_count_from_the_file_that_names_them(files):
    access = load_context(files)
    assert (access.name, access.namespace, access.server, access.tls_server_name) == ("a", "shop", "https://a:6443", "inside")
    assert access.ca_file == files[0].parent / "pki" / "ca.crt"
    assert access.key_file == files[0].parent / "keys" / "a.key"
    assert access.certificate == b"PEM"


def test_of_the_same_name_the_first_file_counts(files):
    assert load_context(files, "b").insecure
    assert load_context(files, "a").server == "https://a:6443"
    assert context_names(files) == ("a", "lost", "b")


def test_a_command_is_found_beside_its_file(files):
    access = load_context(files, "b")
    assert access.exec is not None
    assert (access.exec.command, access.exec.folder) == ("./get", str(files[1].parent))


@pytest.mark.parametrize(
    ("context", "said"),
    [("c", 'no context "c".*known: a, b, lost'), ("lost", 'names cluster "nowhere", which is not there')],
)
def test_what_is_missing_is_said(files, context, said):
    with pytest.raises(KubeconfigError, match=said):
        load_context(files, context)


@pytest.mark.parametrize("text", ["- a list", "clusters: 3", "a: [", "clusters: [{name: x, cluster: {server: 1}}]"])
def test_a_broken_file_is_named(tmp_path, text):
    (tmp_path / "config").write_text(text)
    with pytest.raises(KubeconfigError, match="is not a kubeconfig"):
        load_context((tmp_path / "config",))


def test_missing_files_are_no_error_until_something_is_wanted(tmp_path):
    assert context_names((tmp_path / "none",)) == ()
    with pytest.raises(KubeconfigError, match="does not exist"):
        load_context((tmp_path / "none",))


def test_where_files_are():
    assert [str(path) for path in config_files({"KUBECONFIG": "/a::/b", "HOME": "/h"})] == ["/a", "/b"]
    assert [str(path) for path in config_files({"HOME": "/h"})] == ["/h/.kube/config"]


def test_in_a_pod(tmp_path):
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster(environ, tmp_path) is None
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("flota-system\n")
    access = in_cluster(environ, tmp_path)
    assert access is not None
    assert (access.server, access.namespace, access.token_file) == ("https://[fd00::1]:443", "flota-system", tmp_path / "token")
    assert in_cluster({}, tmp_path) is None
