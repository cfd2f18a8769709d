// `ripcord drift --diff`: hosts are sent what a text should be, and tell the difference; secrets never leave them.
#include <fmt/format.h>

#include "cli/drift.hpp"
#include "cli/look.hpp"
#include "manifests/shared/tree_text.hpp"
#include "plans/hosts/tree_maker.hpp"

namespace ripcord::cli {
namespace {

constexpr std::uint64_t kLongest = 256 * 1024;

struct Ask {
  const Host* host;
  std::string unit, root;
  std::vector<DriftItem*> items;
  json::array files;
};

// The path in the release of a file that was placed at `path`.
std::string source_of(const UnitSpec& spec, const Labels& labels, const std::string& path) {
  if (!path.starts_with('/')) return path;
  Labels variables = labels;
  variables["unit"] = spec.unit;
  variables["version"] = spec.version;
  for (const auto& file : spec.files) {
    try {
      if (path.ends_with(render(file.to, variables, "files"))) return file.from;
    } catch (const Error&) {  // it names paths that only the host knows
    }
  }
  return "";
}

Task<> ask_one(HostPorts& ports, Ask& ask) {
  json::object request{{"do", "scan_diff"}, {"unit", ask.unit}, {"root", ask.root}, {"files", ask.files}};
  auto& port = ports.port(ask.host->name);
  try {
    json::object reply = co_await port.ask(std::move(request), Millis(60000));
    auto texts = get_strings(reply, "diffs");
    for (std::size_t i = 0; i < texts.size() && i < ask.items.size(); ++i) ask.items[i]->diff = texts[i].substr(0, 2 * kLongest);
  } catch (const Error& e) {
    for (auto* item : ask.items) item->diff = std::string("no difference can be shown: ") + e.what() + "\n";
  }
  port.hang_up();
}

Task<> ask_all(Loop& loop, HostPorts& ports, std::vector<Ask>& asks) {
  TaskGroup group(loop);
  for (auto& ask : asks) group.spawn(ask_one(ports, ask));
  co_await group.join();
}

}  // namespace

void add_diffs(Context& c, DriftScan& scan) {
  auto intents = fold_intents(c.entries());
  std::map<Digest, ReleaseOnHand> releases;
  std::vector<Ask> asks;
  for (auto& item : scan.shown) {
    if (item.finding.kind != "changed" || item.unit.empty()) continue;
    const auto& intent = intents.at(item.unit).at(item.host);
    const auto* host = c.fleet().find(item.host);
    if (!host || intent.manifest.is_zero()) continue;
    try {
      if (!releases.contains(intent.manifest)) releases.emplace(intent.manifest, load_release(c.store(), intent.manifest));
      const auto& release = releases.at(intent.manifest);
      std::string arch;
      for (const auto& s : scan.hosts)
        if (s.host == host && s.report) arch = s.report->arch;
      auto object = [&](const Digest& digest) { return c.store().object(digest); };
      auto text = tree_text(release.manifest, release.digest, {host->labels, arch}, source_of(release.manifest.spec, host->labels, item.finding.path), kLongest, object);
      if (!text || !is_utf8(*text)) continue;
      if (asks.empty() || asks.back().host != host || asks.back().unit != item.unit) asks.push_back({host, item.unit, intent.root, {}, {}});
      asks.back().items.push_back(&item);
      asks.back().files.push_back(json::object{{"path", item.finding.path}, {"text", *text}});
    } catch (const Error& e) {
      item.diff = std::string("no difference can be shown: ") + e.what() + "\n";
    }
  }
  c.wait(ask_all(c.loop(), c.ports(), asks));
}

}  // namespace ripcord::cli
