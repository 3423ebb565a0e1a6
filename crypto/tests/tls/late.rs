//! Hardware for keys that takes its time: every step with a public key answers only after it was asked again so many times.

use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};

use peregrine_crypto::provider::{
    AgreeError, Group, HashAlgorithm, KeyShare, Provider, Scheme, Secret, SignError, Signature, Signer, Suite,
};
use peregrine_crypto::rustcrypto::{self, RustCrypto};
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::{CertificateType, Presented, Verifier, VerifyError};

use crate::wire::TestRng;

/// What the hardware does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Generate,
    Agree,
    Sign,
    Identity,
    Verify,
}

impl Step {
    pub(crate) const ALL: [Self; 5] = [Self::Generate, Self::Agree, Self::Sign, Self::Identity, Self::Verify];
}

/// How it behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// How many times a step, by its number, is asked in vain.
    pub(crate) late: [u32; 5],
    /// What does not work.
    pub(crate) broken: Option<Step>,
}

impl Manner {
    /// Each of these steps is late by `asks`.
    pub(crate) fn late(steps: &[Step], asks: u32) -> Self {
        Self { late: Step::ALL.map(|step| if steps.contains(&step) { asks } else { 0 }), ..Self::default() }
    }
}

/// One job at a time.
pub(crate) struct Hardware {
    manner: Manner,
    job: Mutex<Option<Job>>,
    /// How many times something was asked in vain.
    waits: Mutex<u32>,
}

struct Job {
    step: Step,
    asked: Vec<u8>,
    left: u32,
}

impl Hardware {
    pub(crate) fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self { manner, job: Mutex::default(), waits: Mutex::default() })
    }

    pub(crate) fn waits(&self) -> u32 {
        *self.waits.lock().unwrap()
    }

    /// Asks for a step with these arguments. Tells whether it works.
    fn ask(&self, step: Step, asked: &[u8]) -> Poll<bool> {
        let mut job = self.job.lock().unwrap();
        let left = self.manner.late[step as usize];
        let current = job.get_or_insert_with(|| Job { step, asked: asked.to_vec(), left });
        assert!(
            current.step == step && current.asked == asked,
            "{step:?} while {:?} is pending",
            current.step
        );
        if current.left > 0 {
            current.left -= 1;
            *self.waits.lock().unwrap() += 1;
            return Poll::Pending;
        }
        *job = None;
        Poll::Ready(self.manner.broken != Some(step))
    }
}

/// Key agreement by the hardware.
pub(crate) struct Late {
    soft: RustCrypto<TestRng>,
    hardware: Arc<Hardware>,
}

impl Late {
    pub(crate) fn new(seed: u64, hardware: &Arc<Hardware>) -> Self {
        Self { soft: RustCrypto::new(TestRng(seed)), hardware: Arc::clone(hardware) }
    }
}

impl Provider for Late {
    type Aead = rustcrypto::Aead;
    type Header = rustcrypto::Header;
    type Hash = rustcrypto::RunningHash;
    type KeyShare = LateShare;

    fn suites(&self) -> &[Suite] {
        self.soft.suites()
    }

    fn groups(&self) -> &[Group] {
        self.soft.groups()
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<rustcrypto::Aead> {
        self.soft.aead(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<rustcrypto::Header> {
        self.soft.header(suite, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> rustcrypto::RunningHash {
        self.soft.hash(algorithm)
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<LateShare>> {
        let works = ready!(self.hardware.ask(Step::Generate, &group.to_u16().to_be_bytes()));
        let share = ready!(self.soft.key_share(group)).filter(|_| works);
        Poll::Ready(share.map(|soft| LateShare { soft, hardware: Arc::clone(&self.hardware) }))
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.soft.fill_random(out);
    }
}

pub(crate) struct LateShare {
    soft: rustcrypto::KeyShare,
    hardware: Arc<Hardware>,
}

impl KeyShare for LateShare {
    fn group(&self) -> Group {
        self.soft.group()
    }

    fn public(&self) -> &[u8] {
        self.soft.public()
    }

    fn agree(&mut self, peer: &[u8]) -> Poll<Result<Secret, AgreeError>> {
        if ready!(self.hardware.ask(Step::Agree, peer)) {
            self.soft.agree(peer)
        } else {
            Poll::Ready(Err(AgreeError::Failed))
        }
    }
}

/// A private key in the hardware.
pub(crate) struct LateKey {
    pub(crate) soft: SoftKey,
    pub(crate) hardware: Arc<Hardware>,
}

impl Signer for LateKey {
    fn schemes(&self) -> &[Scheme] {
        self.soft.schemes()
    }

    fn sign(&self, scheme: Scheme, message: &[u8]) -> Poll<Result<Signature, SignError>> {
        if ready!(self.hardware.ask(Step::Sign, message)) {
            self.soft.sign(scheme, message)
        } else {
            Poll::Ready(Err(SignError))
        }
    }
}

/// A policy that asks the hardware.
pub(crate) struct LateVerifier<'a> {
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) hardware: Arc<Hardware>,
}

impl Verifier for LateVerifier<'_> {
    fn types(&self) -> &[CertificateType] {
        &[CertificateType::RawPublicKey]
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        if ready!(self.hardware.ask(Step::Identity, presented.leaf()?)) {
            RawKey { keys: self.keys }.verify_identity(presented)
        } else {
            Poll::Ready(Err(VerifyError::WrongPin))
        }
    }

    fn verify_signature(
        &self,
        scheme: Scheme,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Poll<Result<(), VerifyError>> {
        if ready!(self.hardware.ask(Step::Verify, message)) {
            RawKey { keys: self.keys }.verify_signature(scheme, spki, message, signature)
        } else {
            Poll::Ready(Err(VerifyError::NotHolder))
        }
    }
}
