// The bytes that one file of a host's tree should have, for showing what differs.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "manifests/shared/tree.hpp"

namespace ripcord {

// nullopt: no such file, longer than `limit`, or it cannot be made of these labels any more. `object` gives a source's bytes.
std::optional<std::string> tree_text(const Manifest& manifest, const Digest& manifest_digest, const HostFacts& host, const std::string& path,
                                     std::uint64_t limit, const std::function<std::string(const Digest&)>& object);

}  // namespace ripcord
