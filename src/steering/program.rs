//! The classic program that chooses the socket of a new connection: one of the candidates, each with the same chance.
//! Pure.
//!
//! It returns a place in the kernel's array. A number that is no place leaves the choice to the kernel's hash, so a
//! program never loses a connection.

use nix::libc::{
    self, BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_MOD, BPF_RET, BPF_W, SKF_AD_OFF,
    SKF_AD_RANDOM, sock_filter,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Program {
    candidates: u32,
    gaps: Vec<Gap>,
}

/// Places in a row that are not to be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gap {
    from: u32,
    length: u32,
}

impl Program {
    /// By place: whether it may be chosen. `None`: that needs no program, or there is nobody to choose.
    pub(super) fn choosing(candidates: impl IntoIterator<Item = bool>) -> Option<Self> {
        let (mut chosen, mut gaps): (u32, Vec<Gap>) = (0, Vec::new());
        for (place, is_candidate) in (0_u32..).zip(candidates) {
            match gaps.last_mut() {
                _ if is_candidate => chosen += 1,
                Some(gap) if gap.from + gap.length == place => gap.length += 1,
                Some(_) | None => gaps.push(Gap { from: place, length: 1 }),
            }
        }
        (chosen > 0 && !gaps.is_empty()).then_some(Self { candidates: chosen, gaps })
    }

    /// A random number below the count of the candidates; then one step over each gap that is not behind it. Two
    /// instructions per gap: with the 1024 slots that a cluster has at most, far from the kernel's limit
    /// (BPF_MAXINSNS).
    pub(super) fn instructions(&self) -> Vec<sock_filter> {
        let random = (SKF_AD_OFF + SKF_AD_RANDOM) as u32;
        let mut program =
            vec![step(BPF_LD | BPF_W | BPF_ABS, random), step(BPF_ALU | BPF_MOD | BPF_K, self.candidates)];
        for gap in &self.gaps {
            let over = sock_filter { jf: 1, ..step(BPF_JMP | BPF_JGE | BPF_K, gap.from) };
            program.extend([over, step(BPF_ALU | BPF_ADD | BPF_K, gap.length)]);
        }
        program.push(step(BPF_RET | BPF_A, 0));
        program
    }
}

fn step(code: u32, k: u32) -> libc::sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The few instructions that are used, as the kernel's documentation has them.
    fn run(program: &[sock_filter], random: u32) -> u32 {
        let (mut a, mut at) = (0_u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    assert_eq!(k as i32, SKF_AD_OFF + SKF_AD_RANDOM);
                    a = random;
                }
                code if code == BPF_ALU | BPF_MOD | BPF_K => a %= k,
                code if code == BPF_ALU | BPF_ADD | BPF_K => a += k,
                code if code == BPF_JMP | BPF_JGE | BPF_K => at += usize::from(if a >= k { jt } else { jf }),
                code if code == BPF_RET | BPF_A => return a,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    /// All sets of up to ten places, all random numbers that differ: each candidate once, nobody else.
    #[test]
    fn every_candidate_has_the_same_chance_and_nobody_else_has_one() {
        for members in 0..=10 {
            for set in 0_u32..1 << members {
                let flags: Vec<bool> = (0..members).map(|place| set & (1 << place) != 0).collect();
                let wanted: Vec<u32> = (0..members).filter(|place| flags[*place as usize]).collect();
                let Some(program) = Program::choosing(flags) else {
                    assert!(set == 0 || wanted.len() == members as usize);
                    continue;
                };
                let instructions = program.instructions();
                let chosen: Vec<u32> = (0..program.candidates).map(|random| run(&instructions, random)).collect();
                assert_eq!(chosen, wanted);
                assert!(wanted.contains(&run(&instructions, u32::MAX)));
            }
        }
    }

    #[test]
    fn the_largest_cluster_stays_below_the_kernels_limit() {
        let program = Program::choosing((0..1024).map(|place| place % 2 == 0)).unwrap();
        assert_eq!(program.instructions().len(), 3 + 2 * 512);
        assert_eq!(run(&program.instructions(), 511), 1022);
    }
}
