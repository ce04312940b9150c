/* Envoy dynamic module: writes "<prefix><crc32(host) mod keys>" into a header before the route table is chosen.
 *
 * The host is the authority, lower case, without its port: cut at the last ':' unless a ']' follows it (IPv6 literals), as Envoy
 * matches hosts. Configuration, a string: "<header> <keys> <prefix>". Python twin: flota/envoy/scope_key.py, key_of.
 * Read by all workers at once: the configuration never changes after it was made. ABI: Envoy 1.40, early header mutation.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *ptr;
  size_t length;
} buf;

extern bool envoy_dynamic_module_callback_early_header_mutation_get_header_value(void *ctx, buf key, buf *out, size_t index,
                                                                                 size_t *total);
extern bool envoy_dynamic_module_callback_early_header_mutation_set_header(void *ctx, buf key, buf value);

enum { MAX_HEADER = 64, MAX_PREFIX = 128 };

typedef struct {
  char header[MAX_HEADER + 1];
  char prefix[MAX_PREFIX + 1];
  unsigned keys;
  uint32_t table[256];
} scope_config;

const char *envoy_dynamic_module_on_program_init(void) { return "v0.2.0"; }

static void fill_table(uint32_t *table) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
    table[i] = value;
  }
}

void *envoy_dynamic_module_on_early_header_mutation_config_new(void *envoy, buf name, buf config) {
  (void)envoy;
  (void)name;
  char text[MAX_HEADER + MAX_PREFIX + 16];
  if (config.length >= sizeof text) return NULL;
  memcpy(text, config.ptr, config.length);
  text[config.length] = 0;
  scope_config *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  if (sscanf(text, "%64s %u %128s", made->header, &made->keys, made->prefix) != 3 || made->keys == 0 || made->keys > 65536) {
    free(made);
    return NULL;
  }
  fill_table(made->table);
  return made;
}

void envoy_dynamic_module_on_early_header_mutation_config_destroy(void *config) { free(config); }

static size_t without_port(buf host) {
  for (size_t i = host.length; i > 0; i--) {
    if (host.ptr[i - 1] == ']') break;
    if (host.ptr[i - 1] == ':') return i - 1;
  }
  return host.length;
}

bool envoy_dynamic_module_on_early_header_mutation_mutate(void *opaque, void *ctx) {
  const scope_config *config = opaque;
  static const buf authority = {":authority", 10};
  buf host = {"", 0};
  size_t total = 0;
  if (!envoy_dynamic_module_callback_early_header_mutation_get_header_value(ctx, authority, &host, 0, &total)) host.length = 0;
  size_t end = without_port(host);
  uint32_t hash = 0xFFFFFFFFu;
  for (size_t i = 0; i < end; i++) {
    unsigned char sign = (unsigned char)host.ptr[i];
    if (sign >= 'A' && sign <= 'Z') sign |= 0x20;
    hash = config->table[(hash ^ sign) & 0xFF] ^ hash >> 8;
  }
  char value[MAX_PREFIX + 12];
  int length = snprintf(value, sizeof value, "%s%u", config->prefix, (unsigned)((hash ^ 0xFFFFFFFFu) % config->keys));
  envoy_dynamic_module_callback_early_header_mutation_set_header(ctx, (buf){config->header, strlen(config->header)},
                                                                 (buf){value, (size_t)length});
  return true;
}
