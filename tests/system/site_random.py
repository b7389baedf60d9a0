#!/usr/bin/env python3
"""site_random: scenarios whose every number is drawn within its bounds, lived through. The program
checks its own balances at every event and stops where one does not hold; here it must come to an end,
and what it says must add up.

    site_random.py PROGRAM FIRST_SEED COUNT"""
import json
import math
import random
import subprocess
import sys

KINDS = ("heat_wave sag_train cdu_pump turbine_trip fuel_loss curtailment flap_storm bad_firmware "
         "false_alarms order_delayed chiller_fault emissions grid_limit maintenance leak "
         "failure").split()


class Draw(random.Random):
    def between(self, low, high):
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def share(self):
        return self.choice([0, 1, self.random(), self.random()])

    def flag(self):
        return self.choice(["true", "false"])


def keys(**values):
    shown = (f"{k}: {v:.6g}" if isinstance(v, float) else f"{k}: {v}" for k, v in values.items())
    return "{" + ", ".join(shown) + "}"


def hours(d, most):
    return "[" + ", ".join(f"{d.uniform(0, most):.3g}" for _ in range(24)) + "]"


def gas_units(d, name, watts):
    n = d.randint(1, 12)
    return keys(name=name, units=n, unit_w=watts / n * d.between(.1, 1), min_load=d.share(),
                ramp_w_per_s=d.choice([0, watts / n / d.between(60, 2000)]),
                start=f"{d.between(.1, 30):.3g} min", min_up=f"{d.choice([0, 2])} h",
                stop_after=f"{d.choice([0, 30])} min", mttf=f"{d.choice([0, 50, 1000])} h",
                mttr=f"{d.between(1, 50):.3g} h", on=d.choice([-1, 0, n]),
                heat_rate="[[0.4, 13848], [0.7, 11000], [1, 10244]]")


def job(d, name, n):
    rack = d.choice([0, 0, 8]) if n >= 16 else 0
    wants = max(1, int(n * d.choice([.2, .5, .98, 1])))
    return keys(block=rack, name=name, kind=d.choice(["training", "training", "serving", "gangs"]),
                accelerators=max(wants // rack, 1) * rack if rack else wants, priority=d.randint(0, 5),
                preemptible=d.flag(), start=f"{d.choice([0, 0, 2])} d", gangs=d.choice([1, 7]),
                work=f"{d.choice([0, 1])} d", low=d.choice([0, 1, 3]), stall=d.choice([0, 1, 10]),
                checkpoint=d.choice([0, 100, 3600]), store_every=d.choice([1, 20]),
                detect=d.choice([0, 60]), restart=d.choice([-1, 0, 300]), by_hour=hours(d, 1),
                elastic_min=d.choice([1, .5, .01]), group=d.choice([0, 8, 512]),
                elastic_stall=d.choice([0, 30]))


def event(d, n, watts, any_gas):
    what = d.choice([k for k in KINDS if any_gas or k not in ("turbine_trip", "fuel_loss", "emissions")])
    own = {"heat_wave": dict(kelvin=d.uniform(-20, 20)),
           "sag_train": dict(depth=d.random(), times="[3, 9]"),
           "curtailment": dict(watts=watts * d.choice([0, .1, .5])),
           "grid_limit": dict(watts=watts * d.choice([0, .1, .5])),
           "flap_storm": dict(per_day=d.between(.01, 5)),
           "bad_firmware": dict(per_day=d.between(.01, 5), factor=d.between(1, 5)),
           "false_alarms": dict(factor=d.between(1, 5)), "emissions": dict(nox_ppm=9)}
    if what in ("turbine_trip", "cdu_pump", "leak", "maintenance", "failure"):
        own[what] = dict(units=d.randint(0, n))
    if what in ("fuel_loss", "chiller_fault", "leak"):
        own[what] = dict(own.get(what, {}), share=d.share())
    return keys(at=f"{d.uniform(0, 8):.4g} d", what=what,
                lasts=f"{d.choice([0, d.between(.1, 60)]):.4g} h", **own.get(what, {}))


def scenario(seed):
    d = Draw(seed)
    n = int(d.between(8, 300000))
    cap = d.uniform(.5, 1)
    watts, charge = n * 1500.0, sorted(d.random() for _ in range(3))
    groups = [gas_units(d, f"g{i}", watts) for i in range(d.randint(0, 4))]
    lines = [
        f"cluster: {n} x {d.choice(['h100', 'gb200', 'gb300'])}", f"days: {d.between(.2, 20):.4g}",
        f"site: {d.choice(['colossus-1', 'colossus-2', 'abilene', 'us-average'])}",
        "failures: " + keys(law=d.choice(["none", "machine", "exponential", "weibull"]),
                            accelerator_days=d.between(20, 5000), shape=d.between(.4, 4),
                            as_new=d.flag(), unit=d.choice([0, 1, 4, 72]), idle_factor=d.share(),
                            hardware_share=d.share(), false_alarms=d.share(),
                            doubles_k=d.choice([0, 10]), lemons=d.choice([0, .15])),
        "repair: " + keys(crews=d.choice([0, 1, 50]), night_crews=d.choice([0, 3]),
                          law=d.choice(["fixed", "exponential", "two_point"]), needs_part=d.share(),
                          parts=d.choice([0, 5]), readmit_fails=d.choice([0, .3]),
                          hands=f"{d.between(.1, 30):.3g} h"),
        "battery: " + keys(power_w=watts * d.between(.01, 1), energy_wh=watts * d.between(.01, 4),
                           efficiency=d.uniform(.5, 1), floor=charge[0], start=charge[1],
                           ceiling=charge[2], target=charge[2] * d.random(), reserve=d.share(), smooths=d.flag()),
        "grid: " + keys(contract_w=watts * d.choice([0, .2, .6, 1, 2]), last=d.flag(),
                        ramp_w_per_s=d.choice([0, watts / 600]),
                        ramp_limit_w_per_s=d.choice([0, watts / 1000])),
        "controls: " + keys(delay=d.choice([1, 5, 60]), cap_min=d.uniform(.4, cap), pause=d.flag(),
                            restore=f"{d.between(.1, 30):.3g} min", cap=cap,
                            spinning_w=d.choice([0, watts * .05]), damper=d.choice([0, .7]),
                            smoothing_ramp_w_per_s=d.choice([0, 0, 50])),
        "cooling: " + keys(law=d.choice(["site", "loop", "coolers"]), weather="memphis-tmy3",
                           start_day=d.randint(1, 366), supply_c=d.uniform(15, 45),
                           chiller_share=d.share(), catalogue=d.flag(), flow=d.uniform(.2, 1),
                           coolers=max(1, int(watts / 3e6))),
        "permits: " + keys(starts=d.choice([0, 5]), hours=d.choice([0, 50]), stops=d.flag(),
                           co2=d.choice(["0 t/year", "100 t/year"])),
        "gas: [" + ", ".join(groups) + "]",
        "loads: [" + keys(name="l", watts=(mean := watts * d.between(.05, .5)),
                          ramp=d.choice([0, 300, 3600]),
                          swing_w=min(watts * d.choice([0, .1]), .499 * mean), period=d.between(.5, 20),
                          duty=d.random(), by_hour=hours(d, 2)) + "]",
        "causes: [" + keys(name="c", instances=d.randint(1, 500), units=d.randint(1, 3),
                           mtbf=f"{d.between(20, 5000):.4g} h", mttr=f"{d.between(.5, 30):.3g} h",
                           takes=d.choice([0, 8, 72, 1000])) + "]",
        "jobs: [" + ", ".join(job(d, f"j{i}", n) for i in range(d.randint(1, 5))) + "]",
        "events: [" + ", ".join(event(d, n, watts, groups) for _ in range(d.randint(1, 8))) + "]"]
    return "\n".join(lines) + "\n"


def fault_of(program, path):
    run = subprocess.run([program, "site", path, "--json"], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        return run.stderr.strip()
    answer = json.loads(run.stdout)
    for j in answer["jobs"]:
        if abs(sum(j["seconds"].values()) - j["wall_s"]) > 1e-6 * j["wall_s"] + 1e-3:
            return f"the time of {j['name']} does not add up"
    figures = answer["figures"]
    if figures["balance_error"] > 1e-9 or figures["energy_error"] > 1e-9:
        return "energy was made or lost"
    return None


def main():
    program, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for seed in range(first, first + count):
        with open("random.yaml", "w") as f:
            f.write(scenario(seed))
        fault = fault_of(program, "random.yaml")
        if fault:
            sys.exit(f"seed {seed}: {fault}")
    print(f"{count} scenarios, seeds from {first}")


main()
