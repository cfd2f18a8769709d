// The datacenters: part of a fleet file, expanded into hosts. Internal to plans/files/fleet.
#pragma once
#include <string>

#include "core/net/yaml.hpp"
#include "plans/files/fleet.hpp"

namespace ripcord {

inline constexpr std::size_t kMaxHosts = 100000;

// Labels for everything in the fleet: no ranges. Mistakes are reported at their place.
Labels decode_labels(const Yaml& node);

// Reads `datacenters` into fleet.datacenters and fleet.hosts. fleet.name, link, local_dir, and ssh are set before; `labels` are the
// fleet's, `state_dir` is every host's.
void decode_datacenters(const Yaml& datacenters, const Labels& labels, const std::string& state_dir, Fleet& fleet);

// Words of a fleet file: [a-z0-9][a-z0-9._-]*, at most 128.
bool is_host_name(std::string_view name);
// What may be handed to ssh: no option ("-o..."), no blanks, nothing a shell would act on.
bool is_address(std::string_view address);
bool is_user(std::string_view user);

}  // namespace ripcord
