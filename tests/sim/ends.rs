//! The end of a run: nothing goes wrong any more, and everything must come out right.

use fastrand::Rng;
use kinora::handler::UpdateKind;

use crate::check::Held;
use crate::graph;
use crate::world::World;

/// How long it may take to catch up once nothing goes wrong any more.
const CATCH_UP_SECONDS: u32 = 30;

/// Of so many seeds one is compared through the graph too.
const GRAPH_EVERY: u64 = 4;

impl World<'_> {
    /// Nothing goes wrong any more: whoever lives works on to the end of the log, and all that is afloat arrives.
    pub async fn finish(&mut self) -> Held {
        self.say(|| "nothing goes wrong any more".to_owned());
        self.mend();
        self.append(usize::MAX - self.appended);
        if self.generations.len() < self.case.bound.len() {
            self.rebuild().await?;
        }
        if self.case.end.lands_first {
            self.land_all().await?;
        }
        for owner in 0..self.owners.len() {
            if self.case.end.is_fresh && self.is_alive(owner) {
                self.crash(owner).await?;
            }
        }
        for generation in 0..self.generations.len() {
            if !self.has_owner(generation) {
                self.begin(generation, 3, 4)?;
            }
        }
        self.catch_up().await?;
        self.land_all().await?;
        if self.case.releases {
            for generation in 0..self.generations.len() {
                self.settle(generation).await?;
            }
            self.land_all().await?;
        }
        for generation in &mut self.generations {
            generation.whole().await?;
            // A share of the seeds: to ask all that costs as much as a run.
            if self.case.seed.is_multiple_of(GRAPH_EVERY) {
                graph::answers(generation).await?;
                self.seen.note("clients asked for all rows");
            }
        }
        for bound in &self.case.bound {
            let kind = bound.definitions.projections[0].kind;
            assert_eq!(kind == UpdateKind::BlindSet, bound.program.is_blind, "it is drawn as what it is");
            self.seen.note(match kind {
                UpdateKind::BlindSet => "rows were only assigned to",
                UpdateKind::OwnedFold => "rows were folded",
                UpdateKind::MergedFold => "partitions were merged",
            });
        }
        self.stop_all().await
    }

    pub async fn catch_up(&mut self) -> Held {
        let mut rng = Rng::with_seed(self.case.seed);
        let mut seconds = 0;
        loop {
            if let Some(id) = self.servable(|_| true, rng.u16(..)) {
                self.serve(id).await?;
                continue;
            }
            if (0..self.generations.len()).all(|generation| self.has_caught_up(generation))
                && self.all_wait_for_records()
            {
                return Ok(());
            }
            if seconds == CATCH_UP_SECONDS {
                return Err(format!("{seconds} s after the last fault not all is folded"));
            }
            seconds += 1;
            for generation in 0..self.generations.len() {
                if !self.has_owner(generation) {
                    self.begin(generation, 3, 4)?;
                }
            }
            self.wait(1_000).await?;
        }
    }

    pub fn has_caught_up(&self, generation: usize) -> bool {
        let log = &self.desk.lock().log;
        log.iter().all(|(at, records)| self.generations[generation].next(at) == records.len() as u64)
    }

    pub fn all_wait_for_records(&self) -> bool {
        let desk = self.desk.lock();
        (0..self.owners.len())
            .filter(|owner| self.is_alive(*owner))
            .all(|owner| desk.pending.values().any(|(of, _)| *of == owner))
    }

    pub async fn land_all(&mut self) -> Held {
        while !self.desk.lock().afloat.is_empty() {
            self.land_afloat(u16::MAX).await?;
        }
        Ok(())
    }

    /// Owners that are told to stop do so, with nothing under way.
    pub async fn stop_all(&mut self) -> Held {
        for owner in 0..self.owners.len() {
            let _ = self.owners[owner].stop.send(true);
            self.poll(owner)?;
            if self.is_alive(owner) {
                return Err(format!("owner {owner} does not stop"));
            }
        }
        Ok(())
    }
}
