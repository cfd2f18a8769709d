// What a manifest becomes on one host: code by arch at the root of the release, config overlays chosen by label under config/
// (common, then datacenter, role, host; later wins), templates (*.tmpl, suffix dropped) rendered, persist: links added.
// Controller and host compute the same tree and the same digest; it names the release folder, the intent and drift.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "manifests/shared/manifest.hpp"

namespace ripcord {

struct TreeEntry {
  SourceEntry::Kind kind = SourceEntry::Kind::file;
  std::string path;         // in the release folder
  unsigned mode = 0644;
  std::uint64_t size = 0;
  Digest digest;            // files: of the bytes on the host
  std::string target;       // links
  Digest source;            // files: object it is made from; equals digest unless rendered
  bool rendered = false;
};

struct Tree {
  std::string unit, version;
  Digest manifest;
  std::vector<TreeEntry> entries;  // sorted by path, every folder listed
  Digest digest;                   // SHA-256 of encode()
  std::string encode() const;      // canonical text, one line an entry; docs/release.md
  std::string folder() const { return ReleaseName::folder(version, digest); }
  std::uint64_t bytes() const;
};

// Who the host is, for choosing and rendering. `labels` include datacenter, role, host, fleet, address and whatever the fleet says.
struct HostFacts {
  Labels labels;
  std::string arch;  // uname -m
};

// The objects (source digests) of templates that make_tree will need to read for this host.
std::vector<Digest> template_objects(const Manifest& manifest, const HostFacts& host);

// `object` gives the bytes of a template's source. Error: unknown variable (file:line:col), no code for this arch, collisions.
Tree make_tree(const Manifest& manifest, const Digest& manifest_digest, const HostFacts& host,
               const std::function<std::string(const Digest&)>& object);

// What would go wrong on some host, whatever its labels, one sentence a finding: files of code and config at one path, a folder
// in one layer that is a file in another, config outside the layers, malformed templates. For sealing; `object` as above.
std::vector<std::string> check_layers(const Manifest& manifest, const std::function<std::string(const Digest&)>& object);

inline constexpr std::string_view kTemplateSuffix = ".tmpl";   // in config layers only: program trees have .tmpl files of their own
inline constexpr std::uint64_t kMaxTemplate = 4u << 20;

// Strict ${name} templates. `where` names the text in errors.
std::string render(std::string_view text, const Labels& variables, std::string_view where);
// The variables a text uses; Error on a malformed one.
std::vector<std::string> template_variables(std::string_view text, std::string_view where);

}  // namespace ripcord
