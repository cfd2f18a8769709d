#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/rollout_run.hpp"
#include "cli/target.hpp"
#include "cli/view/rollout_json.hpp"
#include "cli/view/tree.hpp"
#include "manifests/shared/seal.hpp"

namespace ripcord::cli {
namespace {

class Show : public Command {
 public:
  void declare(Arguments& a) override { a.positional("WHAT", what_, "UNIT (its newest release), UNIT@VERSION, a host, or a rollout's id"); }

  Exit run(Context& c) override {
    if (what_.starts_with("r-") && c.has_fleet_file())
      if (auto state = fold_rollout(c.entries(), what_)) return rollout(c, *state);
    auto at = what_.find('@');
    auto unit = what_.substr(0, at);
    if (at == std::string::npos && c.has_fleet_file() && c.store().versions(unit).empty())
      if (const auto* h = c.fleet().find(what_)) return host(c, *h);
    std::optional<std::string> version;
    if (at != std::string::npos) version = what_.substr(at + 1);
    return release(c, find_release(c.store(), unit, version));
  }

 private:
  Exit rollout(Context& c, const RolloutState& state) {
    auto& out = c.out();
    if (!out.text()) out.print_json(rollout_json(state, {}, exit_for(state), c.now()));
    TreeOptions options;
    options.style = out.style;
    if (out.text())
      for (const auto& line : tree_lines(state, c.now(), options)) out.print(line);
    return Exit::done;
  }

  Exit host(Context& c, const Host& h) {
    auto& out = c.out();
    json::object labels;
    for (const auto& [key, value] : h.labels) labels[key] = value;
    if (!out.text()) {
      out.print_json(json::object{{"host", h.name},
                                  {"datacenter", h.datacenter},
                                  {"address", h.address.address},
                                  {"port", h.address.port},
                                  {"user", h.address.user},
                                  {"folder", h.address.folder},
                                  {"labels", std::move(labels)},
                                  {"line", h.line}});
      return Exit::done;
    }
    out.print(Line().add(h.name, Tone::bold).add(fmt::format("  {}:{}", c.fleet().file, h.line), Tone::dim).render(out.style));
    auto field = [&](const std::string& name, const std::string& value) {
      if (!value.empty()) out.print(Line().cell(name, 14, Tone::dim).add(value).render(out.style));
    };
    field("datacenter", h.datacenter);
    field("address", h.address.address);
    field("user", h.address.user);
    field("folder", h.address.folder);
    for (const auto& [key, value] : h.labels)
      if (key != "host" && key != "datacenter" && key != "address") field("label " + key, value);
    return Exit::done;
  }

  Exit release(Context& c, const Digest& digest) {
    auto r = load_release(c.store(), digest);
    const auto& spec = r.manifest.spec;
    auto& out = c.out();
    auto signer = r.sealed.signature.empty() ? std::string()
                                             : verify_seal(r.sealed.bytes, r.sealed.signature, "", kSealNamespace, c.now()).fingerprint;
    std::uint64_t bytes = 0, files = 0;
    json::array entries;
    for (const auto& e : r.manifest.entries) {
      bytes += e.size;
      files += e.kind == SourceEntry::Kind::file;
      json::object o{{"path", e.path},
                     {"mode", fmt::format("{:04o}", e.mode)},
                     {"kind", e.kind == SourceEntry::Kind::file   ? "file"
                              : e.kind == SourceEntry::Kind::link ? "link"
                                                                  : "dir"}};
      if (e.kind == SourceEntry::Kind::file) {
        o["size"] = e.size;
        o["sha256"] = e.digest.hex();
      }
      if (e.kind == SourceEntry::Kind::link) o["target"] = e.target;
      entries.push_back(std::move(o));
    }
    if (!out.text()) {
      out.print_json(json::object{{"unit", spec.unit},
                                  {"version", spec.version},
                                  {"manifest", digest.hex()},
                                  {"signed_by", signer},
                                  {"files", files},
                                  {"bytes", bytes},
                                  {"spec", to_json(spec)},
                                  {"entries", std::move(entries)}});
      return Exit::done;
    }
    auto field = [&](const char* name, const std::string& value) {
      out.print(Line().cell(name, 10, Tone::dim).add(value).render(out.style));
    };
    out.print(Line().add(spec.unit + "@" + spec.version, Tone::bold).render(out.style));
    field("digest", digest.hex());
    field("signed", signer.empty() ? "no" : "by " + signer);
    field("hosts", spec.hosts);
    field("root", spec.root + "/" + spec.unit);
    std::vector<std::string> services;
    for (const auto& s : spec.services) services.push_back(s.name);
    field("services", services.empty() ? "none" : join(services, ", "));
    field("content", fmt::format("{}, {}", count_of(files, "file"), format_size(bytes)));
    for (const auto& e : r.manifest.entries) {
      Line line;
      line.add(fmt::format("  {:04o} ", e.mode), Tone::dim)
          .cell(e.kind == SourceEntry::Kind::file ? format_size(e.size) : "", 11, Tone::dim)
          .add(e.path);
      if (e.kind == SourceEntry::Kind::dir) line.add("/");
      if (e.kind == SourceEntry::Kind::link) line.add(" -> " + e.target);
      out.print(line.render(out.style));
    }
    return Exit::done;
  }

  std::string what_;
};

}  // namespace

std::unique_ptr<Command> make_show() { return std::make_unique<Show>(); }

}  // namespace ripcord::cli
