#include "plans/hosts/tree_maker.hpp"

namespace ripcord {

TreeMaker::TreeMaker(const ReleaseOnHand& release, const ReleaseStore& store) : release_(release), store_(store) {
  for (const auto& entry : release.manifest.entries) {
    const bool is_template = entry.kind == SourceEntry::Kind::file && entry.path.ends_with(".tmpl");
    if (is_template) {
      auto text = store.object(entry.digest);
      for (auto& name : template_variables(text, entry.path)) variables_.insert(std::move(name));
      templates_.emplace(entry.digest, std::move(text));
    }
    has_host_overlays_ = has_host_overlays_ || entry.path.find("/host/") != std::string::npos;
  }
}

const Tree& TreeMaker::tree_for(const Host& host, const std::string& arch) {
  auto value = [&](const std::string& label) {
    auto found = host.labels.find(label);
    return found == host.labels.end() ? std::string("\x01") : found->second;
  };
  std::string key = arch + '\n' + value("datacenter") + '\n' + value("role") + '\n' + (has_host_overlays_ ? host.name : "");
  for (const auto& name : variables_) key += '\n' + value(name);
  auto known = by_facts_.find(key);
  if (known == by_facts_.end()) {
    auto object = [this](const Digest& digest) {
      auto found = templates_.find(digest);
      return found != templates_.end() ? found->second : store_.object(digest);
    };
    HostFacts facts{host.labels, arch};
    known = by_facts_.emplace(std::move(key), make_tree(release_.manifest, release_.digest, facts, object)).first;
  }
  return known->second;
}

}  // namespace ripcord
