// A unit.yaml while it is being decoded: the spec, and the places of what has to be held against the unit's folder afterwards.
// Internal to manifests/unit_file.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/net/yaml.hpp"
#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

struct UnitDraft {
  UnitSpec spec;
  Yaml root, code, config;
  std::vector<std::pair<Yaml, std::string>> programs;  // argv[0] that is taken from the release
  std::vector<std::pair<Yaml, std::string>> sources;   // other paths in the release
};

// unit_values.cpp: single values. All report at the node and go on.
std::string template_text(const Yaml& node);                       // a text whose ${...} are well-formed
std::string absolute_template(const Yaml& node, bool plain = false);  // absolute, or beginning with ${release}, ${current}, ${shared}
std::string release_path(const Yaml& node);                        // relative, as check_release_path wants it
std::string word(const Yaml& node, std::string_view first, std::string_view more, std::size_t most, std::string_view what);
std::string owner(const Yaml& node);                               // user[:group]
std::string date(const Yaml& node);                                // YYYY-MM-DD
Millis positive(const Yaml& node, Millis fallback);                // above zero, at most a day; fallback when absent

inline constexpr std::string_view kLowerLetters = "abcdefghijklmnopqrstuvwxyz";
inline constexpr std::string_view kDecimals = "0123456789";

// unit_services.cpp
std::optional<Action> decode_action(const Yaml& node, UnitDraft& draft);
void decode_services(const Yaml& node, UnitDraft& draft);
void decode_health(const Yaml& node, UnitDraft& draft);
void decode_running(const Yaml& node, UnitDraft& draft);

// unit_folder.cpp: fills in the default folders and reports what does not fit.
void check_folder(const std::string& folder, UnitDraft& draft, YamlFile& file);

}  // namespace ripcord
