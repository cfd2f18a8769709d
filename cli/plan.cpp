#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>

#include "cli/command.hpp"
#include "cli/target.hpp"
#include "cli/view/plan_words.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger_address.hpp"
#include "plans/rollout/saved_plan.hpp"

namespace ripcord::cli {
namespace {

// Looking at an unsealed folder must not use up its version number: it is sealed into a store that is thrown away.
class PassingStore {
 public:
  PassingStore() {
    std::string name = (std::filesystem::temp_directory_path() / "ripcord-plan-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw os_error("make a folder", name, errno);
    path_ = name;
  }
  ~PassingStore() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PassingStore(const PassingStore&) = delete;
  PassingStore& operator=(const PassingStore&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class PlanCommand : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("TARGET", target_, "UNIT, UNIT@VERSION, a unit folder or a release file");
    options_.declare(a);
    a.value("--save", file_, "FILE", "keep the plan, for `ripcord apply FILE`");
    a.flag("--detailed-exitcode", detailed_, "exit 2 when there is something to do");
  }

  Exit run(Context& c) override {
    options_.check();
    if (!file_) file_ = c.output_file;
    std::optional<PassingStore> passing;
    std::optional<ReleaseStore> other;
    Digest digest;
    if (!file_ && names_folder(c, target_)) {
      passing.emplace();
      other.emplace(passing->path());
      auto unsigned_release = [](const std::string&) { return std::string(); };
      digest = other->seal(target_, unsigned_release).digest;
      // The very folder that was sealed is that release, with its signature.
      auto known = c.store().versions(load_release(*other, digest).manifest.spec.unit);
      for (const auto& [version, sealed] : known)
        if (sealed == digest) other.reset();
    } else {
      digest = resolve_release(c, target_, {options_.key});
    }
    auto p = prepare(c, other ? *other : c.store(), digest, options_);
    const auto& preflight = p.preflight;
    auto& out = c.out();
    if (out.text()) {
      if (preflight.nothing_to_do) out.print(nothing_to_do(preflight));
      else
        for (const auto& line : plan_lines(preflight, p.plan_name, c.now(), out.style)) out.print(line);
    } else {
      out.print_json(plan_json(preflight, p.plan_name, c.now()));
    }
    // What apply would say; hosts in the middle of another rollout are not what they will be.
    if (ledger_exists(c.fleet().ledger)) refuse_open_rollouts(c, preflight.spec.unit, hosts_of_unit(c, p.release.manifest.spec));
    report_findings(c, preflight);
    if (file_) {
      write_file_durable(*file_, save_plan(preflight), 0644);
      out.note(
          fmt::format("saved; `{}` does just this, and refuses when a host has changed since", c.command("apply " + shell_quote(*file_))));
    }
    return detailed_ && !preflight.nothing_to_do ? Exit::drift : Exit::done;
  }

 private:
  static std::string nothing_to_do(const Preflight& p) {
    return escape_terminal(fmt::format("nothing to do: {} run {}@{}", count_of(p.spec.hosts.size(), "host"), p.spec.unit, p.spec.version));
  }

  std::string target_;
  PlanOptions options_;
  std::optional<std::string> file_;
  bool detailed_ = false;
};

}  // namespace

std::unique_ptr<Command> make_plan() { return std::make_unique<PlanCommand>(); }

}  // namespace ripcord::cli
