//! A run: start, control, faults, healing, the end, and what comes of it.

use crate::chance::Chance;
use crate::cli::Plan;
use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::load::Load;
use crate::output::say;
use crate::schedule::{Next, Schedule};
use crate::{Result, finale, report};
use quipu_checker::{Phase, Time};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Between one turn of a fault that goes on and the next.
const TURN: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let begun = Instant::now();
    say(&format!(
        "{}\nseed {}, {} nodes, in {}",
        plan.command,
        plan.seed,
        plan.nodes,
        plan.out.display()
    ));
    let runtime = Runtime::new()?;
    let mut cluster = Cluster::start(plan.nodes, &plan.out, &plan.settings, runtime.handle())?;
    let mut chance = Chance::new(plan.seed);
    let load = Load::start(plan, &cluster, &mut chance, runtime.handle())?;
    let mut run = Run {
        plan,
        cluster: &mut cluster,
        chance,
        load,
        faults: 0,
        effects: BTreeMap::new(),
    };
    run.say(&format!("{} nodes have started, clients work", plan.nodes));
    run.control()?;
    run.faults();
    // What goes wrong from here on is told in the report: what clients saw until then is worth its check.
    if let Err(error) = run.heal() {
        run.cluster.incident(format!("the last healing: {error}"));
    }
    let vain = run.vain();
    let mut load = run.load;
    let polled = load.end(runtime.handle(), &mut cluster)?;
    if let Err(error) = finale::stop_and_dump(&mut cluster, &load, &polled) {
        cluster.incident(format!("the end: {error}"));
    }
    let ended = report::tell(plan, &load, cluster.incidents(), vain);
    say(&format!("{:.0} s in all", begun.elapsed().as_secs_f64()));
    ended
}

struct Run<'a> {
    plan: &'a Plan,
    cluster: &'a mut Cluster,
    chance: Chance,
    load: Load,
    faults: usize,
    /// Kinds of faults that came, and whether any of them did something.
    effects: BTreeMap<&'static str, bool>,
}

impl Run<'_> {
    fn say(&self, words: &str) {
        say(&format!("{:7.1} s  {words}", seconds(self.load.recorder.now())));
    }

    /// Everything has to go well while nothing is done.
    fn control(&mut self) -> Result<()> {
        let begun = self.load.recorder.now();
        std::thread::sleep(self.plan.control);
        self.look()?;
        if self.load.back_after(begun).is_none() {
            let what = "before the first fault: not every partition acknowledged something";
            self.cluster.incident(what.to_owned());
        }
        self.say(&format!("control: {} acknowledged", self.load.recorder.acked()));
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        self.load.look_after_clients(self.cluster);
        self.cluster.look_after_nodes()
    }

    /// One fault after the other, until the time is over and each kind has come. What goes wrong with one ends them.
    fn faults(&mut self) {
        let mut schedule = Schedule::new(&self.plan.kinds, self.plan.hold);
        let begun = Instant::now();
        while begun.elapsed() < self.plan.time || !schedule.is_complete() {
            let Some(next) = schedule.next(&mut self.chance) else {
                std::thread::sleep(self.plan.time);
                break;
            };
            if let Err(error) = self.one(next) {
                let told = format!("{}: {error}", next.kind.name);
                self.say(&format!("no further: {told}"));
                self.cluster.incident(told);
                break;
            }
        }
    }

    fn one(&mut self, next: Next) -> Result<()> {
        let mut fault = (next.kind.make)();
        let name = fault.name();
        self.faults += 1;
        let begun = self.load.fault(name, Phase::Begin, name)?;
        let what = fault.begin(self.cluster, &mut self.chance)?;
        self.hold(&mut *fault, next.hold)?;
        let effect = fault.effect(self.cluster)?;
        *self.effects.entry(name).or_default() |= effect.is_any();
        let end = fault.end(self.cluster, &mut self.chance)?;
        self.look()?;
        let what = format!("{what}{}; {end}", effect.words());
        let ended = self.load.fault(name, Phase::End, &what)?;
        let healed = self.load.healed(&end)?;
        let back = self.until_back(healed)?;
        let told = format!(
            "{name:<16} {what}; {:.1} s, writes back after {:.2} s",
            seconds(ended) - seconds(begun),
            back.as_secs_f64()
        );
        self.say(&told);
        if back > self.plan.heal_limit {
            self.cluster.incident(format!(
                "{told}: more than {:?} from the healing until every partition acknowledged something",
                self.plan.heal_limit
            ));
        }
        std::thread::sleep(self.plan.quiet);
        self.look()
    }

    /// Kinds of faults that came and never did anything.
    fn vain(&self) -> Vec<String> {
        let vain = self.effects.iter().filter(|(_, any)| !**any);
        vain.map(|(kind, _)| format!("no fault of kind {kind} had any effect"))
            .collect()
    }

    fn hold(&mut self, fault: &mut dyn Fault, hold: Duration) -> Result<()> {
        let until = Instant::now() + hold;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::sleep(TURN.min(left));
            fault.during(self.cluster, &mut self.chance)?;
        }
        Ok(())
    }

    /// From then until every partition has acknowledged something.
    fn until_back(&mut self, healed: Time) -> Result<Duration> {
        let patience = self.cluster.patience();
        let deadline = Instant::now() + patience;
        loop {
            if let Some(back) = self.load.back_after(healed) {
                return Ok(back);
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "not every partition acknowledges something within {patience:?} of the healing"
                )
                .into());
            }
            self.look()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Takes everything back, and waits until all replicas are in sync.
    fn heal(&mut self) -> Result<()> {
        self.cluster.heal()?;
        self.load.healed("everything")?;
        let patience = self.cluster.patience();
        if !self.cluster.until_in_sync(patience)? {
            let what = format!("replicas are not in sync within {patience:?} of the last healing");
            self.cluster.incident(what);
        }
        self.say(&format!("healed after {} faults", self.faults));
        Ok(())
    }
}

fn seconds(time: Time) -> f64 {
    Duration::from_nanos(time.0).as_secs_f64()
}
