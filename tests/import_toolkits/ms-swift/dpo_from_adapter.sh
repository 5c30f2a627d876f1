# The adapter of an earlier run, held near by DPO.
NPROC_PER_NODE=4 \
swift rlhf \
    --rlhf_type dpo \
    --model mistralai/Mistral-7B-Instruct-v0.3 \
    --use_hf true \
    --adapters out/sft/checkpoint-900 \
    --ref_adapters out/sft/checkpoint-900 \
    --dataset hf::trl-lib/ultrafeedback_binarized \
    --split_dataset_ratio 0.01 \
    --beta 0.05 --rpo_alpha 0.2 --loss_type sigmoid --label_smoothing 0.1 \
    --tuner_type lora --lora_rank 32 --lora_alpha 64 \
    --learning_rate 5e-6 --num_train_epochs 1 \
    --per_device_train_batch_size 1 --gradient_accumulation_steps 8 \
    --max_length 2048 \
    --dataloader_drop_last true \
    --deepspeed zero2_offload \
    --logging_steps 5 --save_total_limit 2 \
    --output_dir out/dpo
