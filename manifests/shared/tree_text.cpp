#include "manifests/shared/tree_text.hpp"

#include <algorithm>

namespace ripcord {

std::optional<std::string> tree_text(const Manifest& manifest, const Digest& manifest_digest, const HostFacts& host, const std::string& path,
                                     std::uint64_t limit, const std::function<std::string(const Digest&)>& object) {
  auto tree = make_tree(manifest, manifest_digest, host, object);
  auto found = std::find_if(tree.entries.begin(), tree.entries.end(), [&](const TreeEntry& e) { return e.path == path; });
  if (found == tree.entries.end() || found->kind != SourceEntry::Kind::file || found->size > limit) return std::nullopt;
  std::string text = object(found->source);
  if (found->rendered) {
    Labels variables = host.labels;  // as make_tree has them; the digest below says whether they are
    if (!host.arch.empty()) variables["arch"] = host.arch;
    variables["unit"] = manifest.spec.unit;
    variables["version"] = manifest.spec.version;
    text = render(text, variables, path);
  }
  if (sha256(text) != found->digest) return std::nullopt;
  return text;
}

}  // namespace ripcord
